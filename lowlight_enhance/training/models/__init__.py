"""Networks: teacher, students and discriminator."""
