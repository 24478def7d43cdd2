"""The printer is seen on its network: nobody types an address (DNS-SD, RFC 6763, over multicast DNS, RFC 6762).

    records      what is announced: names, services and their TXT records, from the printer's own attributes (pure)
    interfaces   where: the addresses of this machine, and when they change
    avahi        how, where avahi-daemon runs: it is asked over D-Bus
    multicast    how, where it does not: this process speaks multicast DNS itself
    announcer    when: chooses the way, follows what changes, retries, says goodbye

One rule: an announcement may fail, come late or never come; a print never waits for it.
"""
