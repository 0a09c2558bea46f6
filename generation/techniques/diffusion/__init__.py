"""Drawing with diffusion models through diffusers' own pieces."""
