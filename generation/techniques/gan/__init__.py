"""Drawing in one pass with a small conditional GAN, and finding the latent of any picture."""
