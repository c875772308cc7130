"""What workers import, once for all of them: the server they are forked from imports this.

A worker that imports torch and Lightning by itself needs seconds to start; a forked one is there
in hundredths of a second. Importing starts no thread and touches no device.
"""

import pai_bench.data.sources
import pai_bench.methods.base
import pai_bench.methods.dynamic
import pai_bench.training.fit  # noqa: F401
