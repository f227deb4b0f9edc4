"""The atlas: which ALiBi each implementation computes, told from its outputs."""
