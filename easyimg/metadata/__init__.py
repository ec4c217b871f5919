"""Stores of rows, behind the MetadataStore port."""
