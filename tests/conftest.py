"""For every test: hypothesis measures laws, not how busy the machine is."""

from hypothesis import settings

settings.register_profile("atelier", deadline=None, print_blob=True)
settings.load_profile("atelier")
