"""How much memory a model needs, by part; pure. What llama.cpp itself can say is asked by flows.fits.

weights     the file, all of it mapped and read
copies      weights that llama.cpp keeps a second time, rearranged for this processor
kv_cache    keys and values of the whole context
compute     activations of one micro-batch, the attention mask, llama.cpp's scratch
process     the runtime with no model in it, measured on this machine, and what it holds of the model's vocabulary
"""
