"""`doctor`: looks at all that the service needs, and says what to do about what is not well."""

from server.doctor.examination import examine
from server.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]
