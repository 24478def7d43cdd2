"""What is kept: tables in one database, bytes in one store. Rooms above call these modules and write no SQL."""
