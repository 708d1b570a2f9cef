"""What users write as text: specs, expressions, and files of processes and schemes."""
