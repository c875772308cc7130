"""The one door of the functional API: what comes in is checked and made uniform here.

- `network`: a copy that methods may work on, with plain names, or what is wrong with it;
- `signature`: how the network takes its inputs, and which of its outputs are the logits;
- `batches`: inputs and labels as methods expect them, copies of the caller's;
- `probe`: one pass over the first batch, which tells whether outputs depend on the weights;
- `objective`: labels, or a loss of the caller's own;
- `scores`: masks that say something;
- `failures`: whatever else goes wrong, in one line that names the layer.
"""
