"""The Triton kernel on a GPU; with TRITON_INTERPRET=1 and no GPU a rehearsal of it."""
