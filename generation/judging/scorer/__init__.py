"""A small model that judges how well pictures fit words."""
