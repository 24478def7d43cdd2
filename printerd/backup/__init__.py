"""Backup and restore of an instance.

    vault      encryption to one recipient or several, in the age format
    manifest   what a backup holds, signed by the firm's seal
    saving     backup: consistent while the service runs, incremental
    restoring  restore: everything is checked before anything is there, then a new epoch begins

docs/backup.md tells people how; docs/decisions/0009-a-backup-is-a-new-epoch.md says why so.
"""
