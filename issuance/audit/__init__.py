"""The audit trail: one entry for every act, never changed."""
