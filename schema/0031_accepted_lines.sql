-- A line that is missing gets one in its place once a person accepts that, and all that does not give its hash is noted then: so the
-- published log goes on behind it. What was accepted before that is asked once more.
UPDATE custody_fault_info SET accepted_at = NULL;
