"""What a method is (base), where methods are found (registry)."""
