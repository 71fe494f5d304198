"""What holders allow others to know about them: asked, signed on the phone, used, revoked, provable to anybody."""
