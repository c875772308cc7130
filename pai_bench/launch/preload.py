"""Imports that workers share: the fork server, from which they are forked, imports this module.

A worker that imports torch and Lightning itself takes seconds to start; a forked one takes
hundredths of a second. The imports start no thread and initialise no device.
"""

import pai_bench.data.sources
import pai_bench.methods.base
import pai_bench.methods.dynamic
import pai_bench.training.fit  # noqa: F401
