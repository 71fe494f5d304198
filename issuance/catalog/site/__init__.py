"""The public site of the catalog below `/catalog`: found, read, printed and shared without log-in or script."""
