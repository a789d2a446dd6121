"""How many approvals a signing process checks, beside what argon2id alone allows."""
