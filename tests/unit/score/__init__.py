"""The score: file to fields to sheets to prompts, and every sentence about what is wrong with one."""
