"""The main job: generated source, certificates, figures, the digits study, and the page that shows them."""
