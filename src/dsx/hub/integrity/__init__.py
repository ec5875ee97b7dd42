"""What keeps stored bytes right: found damaged, set aside, removed, compared with the catalog."""
