# Training on several GPUs: each BatchNorm averages over the batches of all of them,
# as one with the summed batch would. CUDA only, and of no effect in one process.
sync_bn = 'torch'
