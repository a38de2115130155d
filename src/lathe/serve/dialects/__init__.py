"""What clients of other servers speak: the same models, asked and answered in the forms that these know."""
