"""The printer as clients see it: HTTP and IPP at the door, the operations behind it, and what we claim to be."""
