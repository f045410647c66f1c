//! What is known about cards, doors and rules, and how it stays fresh.
