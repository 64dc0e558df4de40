-- What is not claimed for the time being: jobs of a type, or of all types, which is the row ''.
CREATE TABLE pauses (type TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
