"""What stands on a message: result, modals, review. Every button is a DynamicItem."""
