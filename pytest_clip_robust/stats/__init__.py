"""Statistics that properties and gates stand on."""
