"""Rules of other tools, as text, to rules of Hindcast, as text, with what was assumed and refused. No I/O."""
