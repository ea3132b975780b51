"""drillbook: fire drills for LLM serving.

Break a live, distributed vLLM deployment on purpose, measure what users and guardrails saw down to the token, always
put it back, and write the incident playbook. ARCHITECTURE.md at the top of the repository says what flows where.
"""

__version__ = "0.1.0"
