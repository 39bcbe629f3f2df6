"""Rounds a checkpoint's weights tensor by tensor, from safetensors files to safetensors files: the model is never in
memory as a whole, and a run that was killed goes on after the last part that it finished."""
