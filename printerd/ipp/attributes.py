"""The attributes that we speak: their names, syntaxes and groups, and what follows from them.

One rule: the tables stand in the notation of the IANA registry, and nobody
else says what syntax an attribute has. A printer or job attribute is built by
name alone::

    attribute("printer-state", PrinterState.IDLE)                      # an enum, says the table
    attribute("sides-supported", "one-sided", "two-sided-long-edge")   # two keywords
    attribute("media-col-default", {"media-size": {"x-dimension": 21000, "y-dimension": 29700}})
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Final, cast

from printerd.ipp.message import (
    STRINGS,
    Attribute,
    Data,
    Group,
    GroupTag,
    Localized,
    Range,
    Resolution,
    Tag,
    Value,
    date_time,
    no_value,
)


class Kind(StrEnum):
    """Where an attribute lives, as IANA calls it (RFC 8011 sections 4 and 5, RFC 3995, PWG 5100.5)."""

    OPERATION = "Operation"
    JOB_TEMPLATE = "Job Template"
    JOB_DESCRIPTION = "Job Description"
    JOB_STATUS = "Job Status"
    DOCUMENT_DESCRIPTION = "Document Description"
    DOCUMENT_STATUS = "Document Status"
    SUBSCRIPTION_TEMPLATE = "Subscription Template"
    SUBSCRIPTION_STATUS = "Subscription Status"
    EVENT = "Event Notifications"
    PRINTER_DESCRIPTION = "Printer Description"
    PRINTER_STATUS = "Printer Status"


_NOTATION: Final[dict[Kind, str]] = {
    Kind.OPERATION: """
        attributes-charset             charset
        attributes-natural-language    naturalLanguage
        client-info                    1setOf collection
        compression                    type2 keyword
        detailed-status-message        text(MAX)
        document-charset               charset
        document-format                mimeMediaType
        document-format-details        1setOf collection
        document-message               text(MAX)
        document-metadata              1setOf octetString(MAX)
        document-name                  name(MAX)
        document-natural-language      naturalLanguage
        document-number                integer(1:MAX)
        document-password              octetString(1023)
        document-preprocessed          boolean
        document-uri                   uri
        first-index                    integer(1:MAX)
        identify-actions               1setOf type2 keyword
        ipp-attribute-fidelity         boolean
        job-hold-until                 type2 keyword | name(MAX)
        job-hold-until-time            dateTime
        job-id                         integer(1:MAX)
        job-ids                        1setOf integer(1:MAX)
        job-impressions                integer(0:MAX)
        job-impressions-estimated      integer(1:MAX)
        job-k-octets                   integer(0:MAX)
        job-mandatory-attributes       1setOf keyword
        job-media-sheets               integer(0:MAX)
        job-message-from-operator      text(127)
        job-name                       name(MAX)
        job-pages                      integer(0:MAX)
        job-password                   octetString(255)
        job-password-encryption        type2 keyword | name(MAX)
        job-state                      type1 enum
        job-state-message              text(MAX)
        job-state-reasons              1setOf type2 keyword
        job-uri                        uri
        last-document                  boolean
        limit                          integer(1:MAX)
        message                        text(127)
        my-jobs                        boolean
        notify-get-interval            integer(0:MAX)
        notify-sequence-numbers        1setOf integer(1:MAX)
        notify-subscription-ids        1setOf integer(1:MAX)
        notify-wait                    boolean
        preferred-attributes           collection
        printer-message-from-operator  text(127)
        printer-up-time                integer(1:MAX)
        printer-uri                    uri
        requested-attributes           1setOf type2 keyword
        requesting-user-name           name(MAX)
        requesting-user-uri            uri
        status-message                 text(255)
        which-jobs                     type2 keyword
    """,
    Kind.SUBSCRIPTION_TEMPLATE: """
        notify-attributes            1setOf keyword
        notify-charset               charset
        notify-events                1setOf type2 keyword
        notify-lease-duration        integer(0:67108863)
        notify-max-events-supported  integer(2:MAX)
        notify-natural-language      naturalLanguage
        notify-pull-method           type2 keyword
        notify-recipient-uri         uri
        notify-time-interval         integer(0:MAX)
        notify-user-data             octetString(63)
    """,
    Kind.SUBSCRIPTION_STATUS: """
        notify-job-id                 integer(1:MAX)
        notify-lease-expiration-time  integer(0:MAX)
        notify-printer-up-time        integer(1:MAX)
        notify-printer-uri            uri
        notify-sequence-number        integer(0:MAX)
        notify-status-code            type2 enum
        notify-subscriber-user-name   name(MAX)
        notify-subscription-id        integer(1:MAX)
    """,
    Kind.EVENT: """
        job-id                     integer(1:MAX)
        job-state                  type1 enum
        job-state-reasons          1setOf type2 keyword
        job-uuid                   uri
        notify-charset             charset
        notify-natural-language    naturalLanguage
        notify-printer-uri         uri
        notify-sequence-number     integer(0:MAX)
        notify-subscribed-event    type2 keyword
        notify-subscription-id     integer(1:MAX)
        notify-text                text(MAX)
        notify-user-data           octetString(63)
        printer-current-time       dateTime | unknown
        printer-is-accepting-jobs  boolean
        printer-state              type1 enum
        printer-state-reasons      1setOf type2 keyword
        printer-up-time            integer(1:MAX)
    """,
    Kind.DOCUMENT_DESCRIPTION: """
        document-name  name(MAX)
    """,
    Kind.DOCUMENT_STATUS: """
        attributes-charset           charset
        attributes-natural-language  naturalLanguage
        date-time-at-completed       dateTime | no-value
        date-time-at-creation        dateTime
        date-time-at-processing      dateTime | no-value
        document-charset             charset
        document-format              mimeMediaType
        document-format-detected     mimeMediaType
        document-job-id              integer(1:MAX)
        document-job-uri             uri
        document-natural-language    naturalLanguage
        document-number              integer(1:MAX)
        document-printer-uri         uri
        document-state               type1 enum
        document-state-message       text(MAX)
        document-state-reasons       1setOf type2 keyword
        document-uuid                uri
        k-octets                     integer(0:MAX)
        last-document                boolean
        more-info                    uri
        printer-up-time              integer(1:MAX)
        time-at-completed            integer(MIN:MAX) | no-value
        time-at-creation             integer(MIN:MAX)
        time-at-processing           integer(MIN:MAX) | no-value
    """,
    Kind.JOB_TEMPLATE: """
        copies                            integer(1:MAX)
        feed-orientation                  type2 keyword
        finishings                        1setOf type2 enum
        finishings-col                    1setOf collection | no-value
        force-front-side                  1setOf integer(1:MAX)
        imposition-template               type2 keyword | name(MAX)
        job-account-id                    name(MAX)
        job-accounting-user-id            name(MAX)
        job-cancel-after                  integer(0:MAX)
        job-delay-output-until            type2 keyword | name(MAX)
        job-error-action                  type2 keyword
        job-hold-until                    type2 keyword | name(MAX)
        job-hold-until-time               dateTime
        job-message-to-operator           text(MAX)
        job-phone-number                  uri
        job-priority                      integer(1:100)
        job-recipient-name                name(MAX)
        job-retain-until                  type2 keyword | name(MAX)
        job-sheet-message                 text(MAX)
        job-sheets                        type2 keyword | name(MAX)
        media                             type2 keyword | name(MAX)
        media-col                         collection
        media-input-tray-check            type2 keyword | name(MAX)
        multiple-document-handling        type2 keyword
        number-up                         integer(1:MAX)
        orientation-requested             type2 enum
        output-bin                        type2 keyword | name(MAX)
        output-device                     name(127)
        overrides                         1setOf collection
        page-delivery                     type2 keyword
        page-ranges                       1setOf rangeOfInteger(1:MAX)
        pages-per-subset                  1setOf integer(1:MAX)
        presentation-direction-number-up  type2 keyword
        print-color-mode                  type2 keyword
        print-content-optimize            type2 keyword
        print-darkness                    integer(-100:100)
        print-quality                     type2 enum
        print-rendering-intent            type2 keyword
        print-scaling                     type2 keyword
        printer-resolution                resolution
        sheet-collate                     type2 keyword
        sides                             type2 keyword
        x-image-position                  type2 keyword
        y-image-position                  type2 keyword
    """,
    Kind.JOB_DESCRIPTION: """
        job-charge-info            text
        job-message-from-operator  text(127)
        job-name                   name(MAX)
    """,
    Kind.JOB_STATUS: """
        attributes-charset                  charset
        attributes-natural-language         naturalLanguage
        compression-supplied                type2 keyword
        copies-actual                       1setOf integer(1:MAX)
        date-time-at-completed              dateTime | no-value
        date-time-at-completed-estimated    dateTime | unknown
        date-time-at-creation               dateTime
        date-time-at-processing             dateTime | no-value
        date-time-at-processing-estimated   dateTime | unknown
        document-charset-supplied           charset
        document-format-ready               1setOf mimeMediaType
        document-format-supplied            mimeMediaType
        document-name-supplied              name(MAX)
        document-natural-language-supplied  naturalLanguage
        errors-count                        integer(0:MAX)
        finishings-actual                   1setOf type2 enum
        job-detailed-status-messages        1setOf text(MAX)
        job-document-access-errors          1setOf text(MAX)
        job-id                              integer(1:MAX)
        job-impressions                     integer(0:MAX)
        job-impressions-completed           integer(0:MAX)
        job-k-octets                        integer(0:MAX)
        job-k-octets-processed              integer(0:MAX)
        job-media-sheets                    integer(0:MAX)
        job-media-sheets-completed          integer(0:MAX)
        job-more-info                       uri
        job-originating-user-name           name(MAX)
        job-originating-user-uri            uri
        job-pages                           integer(0:MAX)
        job-pages-completed                 integer(0:MAX)
        job-printer-up-time                 integer(1:MAX)
        job-printer-uri                     uri
        job-processing-time                 integer(0:MAX)
        job-state                           type1 enum | unknown
        job-state-message                   text(MAX)
        job-state-reasons                   1setOf type2 keyword
        job-uri                             uri
        job-uuid                            uri
        media-actual                        1setOf (type2 keyword | name(MAX))
        media-col-actual                    1setOf collection
        number-of-documents                 integer(0:MAX)
        number-of-intervening-jobs          integer(0:MAX)
        original-requesting-user-name       name(MAX)
        output-device-assigned              name(127)
        print-color-mode-actual             1setOf type2 keyword
        print-quality-actual                1setOf type2 enum
        printer-resolution-actual           1setOf resolution
        sides-actual                        1setOf type2 keyword
        time-at-completed                   integer(MIN:MAX) | no-value
        time-at-completed-estimated         integer(MIN:MAX) | unknown
        time-at-creation                    integer(MIN:MAX)
        time-at-processing                  integer(MIN:MAX) | no-value
        time-at-processing-estimated        integer(MIN:MAX) | unknown
        warnings-count                      integer(0:MAX)
    """,
    Kind.PRINTER_DESCRIPTION: """
        charset-configured                          charset
        charset-supported                           1setOf charset
        client-info-supported                       1setOf keyword
        color-supported                             boolean
        compression-supported                       1setOf type2 keyword
        copies-default                              integer(1:MAX)
        copies-supported                            rangeOfInteger(1:MAX)
        document-charset-default                    charset
        document-charset-supported                  1setOf charset
        document-creation-attributes-supported      1setOf keyword
        document-format-default                     mimeMediaType
        document-format-details-supported           1setOf keyword
        document-format-supported                   1setOf mimeMediaType
        document-natural-language-default           naturalLanguage
        document-natural-language-supported         1setOf naturalLanguage
        document-password-supported                 integer(0:1023)
        document-privacy-attributes                 1setOf type2 keyword
        document-privacy-scope                      type2 keyword
        feed-orientation-default                    type2 keyword
        feed-orientation-supported                  1setOf type2 keyword
        finishing-template-supported                1setOf (type2 keyword | name(MAX))
        finishings-col-database                     1setOf collection
        finishings-col-default                      collection
        finishings-col-ready                        1setOf collection
        finishings-col-supported                    1setOf keyword
        finishings-default                          1setOf type2 enum
        finishings-ready                            1setOf type2 enum
        finishings-supported                        1setOf type2 enum
        force-front-side-supported                  rangeOfInteger(1:MAX)
        generated-natural-language-supported        1setOf naturalLanguage
        identify-actions-default                    1setOf type2 keyword
        identify-actions-supported                  1setOf type2 keyword
        imposition-template-default                 keyword | name(MAX)
        imposition-template-supported               1setOf (keyword | name(MAX))
        ipp-features-supported                      1setOf type2 keyword
        ipp-versions-supported                      1setOf type2 keyword
        ippget-event-life                           integer(15:MAX)
        job-account-id-default                      name(MAX) | no-value
        job-account-id-supported                    boolean
        job-accounting-user-id-default              name(MAX) | no-value
        job-accounting-user-id-supported            boolean
        job-authorization-uri-supported             boolean
        job-cancel-after-default                    integer(0:MAX) | no-value
        job-cancel-after-supported                  rangeOfInteger(0:MAX)
        job-creation-attributes-supported           1setOf keyword
        job-delay-output-until-default              type2 keyword | name(MAX)
        job-delay-output-until-supported            1setOf (type2 keyword | name(MAX))
        job-delay-output-until-time-supported       rangeOfInteger(0:MAX)
        job-error-action-default                    type2 keyword
        job-error-action-supported                  1setOf type2 keyword
        job-history-attributes-configured           1setOf keyword
        job-history-attributes-supported            1setOf keyword
        job-history-interval-configured             integer(0:MAX)
        job-history-interval-supported              rangeOfInteger(0:MAX)
        job-hold-until-default                      type2 keyword | name(MAX)
        job-hold-until-supported                    1setOf (type2 keyword | name(MAX))
        job-hold-until-time-supported               rangeOfInteger(0:MAX)
        job-ids-supported                           boolean
        job-impressions-supported                   rangeOfInteger(0:MAX)
        job-k-octets-supported                      rangeOfInteger(0:MAX)
        job-mandatory-attributes-supported          boolean
        job-media-sheets-supported                  rangeOfInteger(0:MAX)
        job-message-to-operator-default             text(MAX)
        job-message-to-operator-supported           boolean
        job-password-encryption-supported           1setOf (type2 keyword | name(MAX))
        job-password-length-supported               rangeOfInteger(0:255)
        job-password-repertoire-configured          type2 keyword | name(MAX)
        job-password-repertoire-supported           1setOf (type2 keyword | name(MAX))
        job-password-supported                      integer(0:255)
        job-phone-number-default                    uri | no-value
        job-phone-number-supported                  boolean
        job-priority-default                        integer(1:100)
        job-priority-supported                      integer(1:100)
        job-privacy-attributes                      1setOf type2 keyword
        job-privacy-scope                           type2 keyword
        job-recipient-name-default                  name(MAX) | no-value
        job-recipient-name-supported                boolean
        job-retain-until-default                    type2 keyword | name(MAX)
        job-retain-until-interval-supported         rangeOfInteger(0:MAX)
        job-retain-until-supported                  1setOf (type2 keyword | name(MAX))
        job-retain-until-time-supported             rangeOfInteger(0:MAX)
        job-sheet-message-default                   text(MAX)
        job-sheet-message-supported                 boolean
        job-sheets-default                          type2 keyword | name(MAX)
        job-sheets-supported                        1setOf (type2 keyword | name(MAX))
        job-spooling-supported                      type2 keyword
        jpeg-features-supported                     1setOf type2 keyword
        jpeg-k-octets-supported                     rangeOfInteger(0:MAX)
        jpeg-x-dimension-supported                  rangeOfInteger(0:65535)
        jpeg-y-dimension-supported                  rangeOfInteger(1:65535)
        max-client-info-supported                   integer(4:MAX)
        media-back-coating-supported                1setOf (type2 keyword | name(MAX))
        media-bottom-margin-supported               1setOf integer(0:MAX)
        media-col-database                          1setOf collection
        media-col-default                           collection
        media-col-ready                             1setOf collection
        media-col-supported                         1setOf keyword
        media-color-supported                       1setOf (type2 keyword | name(MAX))
        media-default                               no-value | type2 keyword | name(MAX)
        media-front-coating-supported               1setOf (type2 keyword | name(MAX))
        media-key-supported                         1setOf (keyword | name(MAX))
        media-left-margin-supported                 1setOf integer(0:MAX)
        media-ready                                 1setOf (type2 keyword | name(MAX))
        media-right-margin-supported                1setOf integer(0:MAX)
        media-size-supported                        1setOf collection
        media-source-supported                      1setOf (type2 keyword | name(MAX))
        media-supported                             1setOf (type2 keyword | name(MAX))
        media-top-margin-supported                  1setOf integer(0:MAX)
        media-tracking-supported                    1setOf type2 keyword
        media-type-supported                        1setOf (type2 keyword | name(MAX))
        media-weight-metric-supported               1setOf rangeOfInteger(0:MAX)
        multiple-document-handling-default          type2 keyword
        multiple-document-handling-supported        1setOf type2 keyword
        multiple-document-jobs-supported            boolean
        multiple-operation-time-out                 integer(1:MAX)
        multiple-operation-time-out-action          type2 keyword
        natural-language-configured                 naturalLanguage
        notify-events-default                       1setOf type2 keyword
        notify-events-supported                     1setOf type2 keyword
        notify-lease-duration-default               integer(0:67108863)
        notify-lease-duration-supported             1setOf (integer(0:67108863) | rangeOfInteger(0:67108863))
        notify-pull-method-supported                1setOf type2 keyword
        number-up-default                           integer(1:MAX)
        number-up-supported                         1setOf (integer(1:MAX) | rangeOfInteger(1:MAX))
        oauth-authorization-server-uri              uri | no-value
        operations-supported                        1setOf type2 enum
        orientation-requested-default               no-value | type2 enum
        orientation-requested-supported             1setOf type2 enum
        output-bin-default                          type2 keyword | name(MAX)
        output-bin-supported                        1setOf (keyword | name(MAX))
        output-device-supported                     1setOf name(127)
        overrides-supported                         1setOf keyword
        page-delivery-default                       type2 keyword
        page-delivery-supported                     1setOf type2 keyword
        page-ranges-supported                       boolean
        pages-per-subset-supported                  boolean
        pdf-features-supported                      1setOf type2 keyword
        pdf-k-octets-supported                      rangeOfInteger(0:MAX)
        pdf-versions-supported                      1setOf type2 keyword
        pdl-override-guaranteed-supported           1setOf keyword
        pdl-override-supported                      type2 keyword
        preferred-attributes-supported              boolean
        presentation-direction-number-up-default    type2 keyword
        presentation-direction-number-up-supported  1setOf type2 keyword
        print-color-mode-default                    type2 keyword
        print-color-mode-supported                  1setOf type2 keyword
        print-content-optimize-default              type2 keyword
        print-content-optimize-supported            1setOf type2 keyword
        print-darkness-default                      integer(-100:100)
        print-darkness-supported                    integer(1:100)
        print-processing-attributes-supported       1setOf keyword
        print-quality-default                       type2 enum
        print-quality-supported                     1setOf type2 enum
        print-rendering-intent-default              type2 keyword
        print-rendering-intent-supported            1setOf type2 keyword
        print-scaling-default                       type2 keyword
        print-scaling-supported                     1setOf type2 keyword
        printer-asset-tag                           octetString(MAX)
        printer-charge-info                         text(MAX)
        printer-charge-info-uri                     uri
        printer-contact-col                         collection | unknown
        printer-current-time                        dateTime | unknown
        printer-darkness-supported                  integer(1:100)
        printer-detailed-status-messages            1setOf text(MAX)
        printer-device-id                           text(1023)
        printer-dns-sd-name                         name(63)
        printer-driver-installer                    uri
        printer-geo-location                        uri | unknown
        printer-get-attributes-supported            1setOf keyword
        printer-icons                               1setOf uri
        printer-info                                text(127)
        printer-kind                                1setOf (type2 keyword | name(MAX))
        printer-location                            text(127)
        printer-make-and-model                      text(127)
        printer-mandatory-job-attributes            1setOf keyword
        printer-mode-configured                     type2 keyword
        printer-mode-supported                      1setOf type2 keyword
        printer-more-info-manufacturer              uri
        printer-name                                name(127)
        printer-organization                        1setOf text(MAX)
        printer-organizational-unit                 1setOf text(MAX)
        printer-requested-job-attributes            1setOf keyword
        printer-resolution-default                  resolution
        printer-resolution-supported                1setOf resolution
        printer-static-resource-directory-uri       uri
        printer-strings-languages-supported         1setOf naturalLanguage
        printer-strings-uri                         uri | no-value
        pwg-raster-document-resolution-supported    1setOf resolution
        pwg-raster-document-sheet-back              type2 keyword
        pwg-raster-document-type-supported          1setOf type2 keyword
        reference-uri-schemes-supported             1setOf uriScheme
        requesting-user-uri-schemes-supported       1setOf uriScheme
        requesting-user-uri-supported               boolean
        sheet-collate-default                       type2 keyword
        sheet-collate-supported                     1setOf type2 keyword
        sides-default                               type2 keyword
        sides-supported                             1setOf type2 keyword
        subscription-privacy-attributes             1setOf type2 keyword
        subscription-privacy-scope                  type2 keyword
        uri-authentication-supported                1setOf type2 keyword
        uri-security-supported                      1setOf type2 keyword
        which-jobs-supported                        1setOf type2 keyword
        x-image-position-default                    type2 keyword
        x-image-position-supported                  1setOf type2 keyword
        y-image-position-default                    type2 keyword
        y-image-position-supported                  1setOf type2 keyword
    """,
    Kind.PRINTER_STATUS: """
        device-service-count                   integer(1:MAX)
        device-uuid                            uri
        document-format-varying-attributes     1setOf keyword
        job-settable-attributes-supported      1setOf keyword
        pages-per-minute                       integer(0:MAX)
        pages-per-minute-color                 integer(0:MAX)
        printer-alert                          1setOf octetString(MAX)
        printer-alert-description              1setOf text(MAX)
        printer-config-change-date-time        dateTime | unknown
        printer-config-change-time             integer(1:MAX)
        printer-config-changes                 integer(0:MAX)
        printer-detailed-status-messages       1setOf text(MAX)
        printer-finisher                       1setOf octetString(MAX)
        printer-finisher-description           1setOf text(MAX)
        printer-firmware-name                  1setOf name(MAX)
        printer-firmware-patches               1setOf text(MAX)
        printer-firmware-string-version        1setOf text(MAX)
        printer-firmware-version               1setOf octetString(MAX)
        printer-id                             integer(1:65535)
        printer-impressions-completed          integer(0:MAX)
        printer-input-tray                     1setOf octetString(MAX)
        printer-is-accepting-jobs              boolean
        printer-media-sheets-completed         integer(0:MAX)
        printer-message-date-time              dateTime
        printer-message-from-operator          text(127)
        printer-message-time                   integer(MIN:MAX)
        printer-more-info                      uri
        printer-output-tray                    1setOf octetString(MAX)
        printer-pages-completed                integer(0:MAX)
        printer-serial-number                  text(255)
        printer-service-type                   type2 keyword
        printer-settable-attributes-supported  1setOf keyword
        printer-state                          type1 enum
        printer-state-change-date-time         dateTime
        printer-state-change-time              integer(1:MAX)
        printer-state-message                  text(MAX)
        printer-state-reasons                  1setOf type2 keyword
        printer-supply                         1setOf octetString(MAX)
        printer-supply-description             1setOf text(MAX)
        printer-supply-info-uri                uri
        printer-up-time                        integer(1:MAX)
        printer-uri-supported                  1setOf uri
        printer-uuid                           uri
        queued-job-count                       integer(0:MAX)
    """,
}

_OWN_TEMPLATES: Final = """
    invoice-printer-copy-to   1setOf (type2 keyword | name(MAX))
    invoice-printer-route     type2 keyword
    invoice-printer-template  type2 keyword | name(MAX)
"""
"""Job Template attributes of our own (docs/clients.md)."""

_EXTENSIONS: Final = """
    document-format-preferred           mimeMediaType
    invoice-number                      name(MAX)
    invoice-printer-copy-to-default     1setOf (type2 keyword | name(MAX))
    invoice-printer-copy-to-supported   1setOf (type2 keyword | name(MAX))
    invoice-printer-invoices            1setOf collection
    invoice-printer-route-default       type2 keyword
    invoice-printer-route-supported     1setOf type2 keyword
    invoice-printer-template-default    type2 keyword | name(MAX)
    invoice-printer-template-supported  1setOf (type2 keyword | name(MAX))
    invoice-state                       type2 keyword
    invoice-state-message               text(MAX)
    mopria-certified                    text(127) | no-value
    mopria_certified                    text(127) | no-value
    urf-supported                       1setOf keyword
"""
"""Attributes that clients read, or that are ours, and IANA does not list.

document-format-preferred and mopria-certified (in either spelling) are asked
for by Windows and Android, urf-supported by AirPrint: without it iOS does not
show the printer. The others say what became of the invoices of a job, and
what may be chosen for them (docs/clients.md).
"""

_MEMBERS: Final = """
    client-name                          name(127)
    client-patches                       text(255) | no-value
    client-string-version                text(127)
    client-type                          type2 enum
    client-version                       octetString(64) | no-value
    contact-name                         name(MAX)
    contact-uri                          uri
    contact-vcard                        1setOf text(MAX)
    document-format                      mimeMediaType
    document-format-device-id            text(127)
    document-format-version              text(127)
    document-natural-language            1setOf naturalLanguage
    document-source-application-name     name(MAX)
    document-source-application-version  text(127)
    document-source-os-name              name(40)
    document-source-os-version           text(40)
    finishing-template                   type2 keyword | name(MAX)
    media-back-coating                   type2 keyword | name(MAX)
    media-bottom-margin                  integer(0:MAX)
    media-color                          type2 keyword | name(MAX)
    media-front-coating                  type2 keyword | name(MAX)
    media-grain                          type2 keyword | name(MAX)
    media-hole-count                     integer(0:MAX)
    media-info                           text(255)
    media-key                            keyword | name(MAX)
    media-left-margin                    integer(0:MAX)
    media-order-count                    integer(1:MAX)
    media-pre-printed                    type2 keyword | name(MAX)
    media-recycled                       type2 keyword | name(MAX)
    media-right-margin                   integer(0:MAX)
    media-size                           collection
    media-size-name                      type2 keyword | name(MAX)
    media-source                         type2 keyword | name(MAX)
    media-source-feed-direction          type2 keyword
    media-source-feed-orientation        type2 enum
    media-source-properties              collection
    media-thickness                      integer(1:MAX)
    media-tooth                          type2 keyword | name(MAX)
    media-top-margin                     integer(0:MAX)
    media-tracking                       type2 keyword
    media-type                           type2 keyword | name(MAX)
    media-weight-metric                  integer(0:MAX)
    x-dimension                          integer(1:MAX) | rangeOfInteger(1:MAX)
    y-dimension                          integer(1:MAX) | rangeOfInteger(1:MAX)
"""
"""Members of client-info, printer-contact-col, document-format-details, finishings-col and of the media collections."""


# Syntaxes

_TAGS: Final = {
    "integer": Tag.INTEGER,
    "boolean": Tag.BOOLEAN,
    "enum": Tag.ENUM,
    "octetString": Tag.OCTET_STRING,
    "dateTime": Tag.DATE_TIME,
    "resolution": Tag.RESOLUTION,
    "rangeOfInteger": Tag.RANGE_OF_INTEGER,
    "collection": Tag.COLLECTION,
    "text": Tag.TEXT,
    "name": Tag.NAME,
    "keyword": Tag.KEYWORD,
    "uri": Tag.URI,
    "uriScheme": Tag.URI_SCHEME,
    "charset": Tag.CHARSET,
    "naturalLanguage": Tag.NATURAL_LANGUAGE,
    "mimeMediaType": Tag.MIME_MEDIA_TYPE,
    "no-value": Tag.NO_VALUE,
    "unknown": Tag.UNKNOWN,
}
_LONGEST: Final = {
    Tag.OCTET_STRING: 1023,
    Tag.TEXT: 1023,
    Tag.NAME: 255,
    Tag.KEYWORD: 255,
    Tag.URI: 1023,
    Tag.URI_SCHEME: 63,
    Tag.CHARSET: 63,
    Tag.NATURAL_LANGUAGE: 63,
    Tag.MIME_MEDIA_TYPE: 255,
}
"""Octets, from RFC 8011 section 5.1 (tables 2 and 3)."""
_PLAIN: Final[dict[int, int]] = {Tag.TEXT_WITH_LANGUAGE: Tag.TEXT, Tag.NAME_WITH_LANGUAGE: Tag.NAME}
"""RFC 8011 section 5.1.3: where text stands, text with a language may stand."""
_NUMBERS: Final = {"MIN": -(2**31), "MAX": 2**31 - 1}
_CHOICE: Final = re.compile(r"(?:type\d )?([a-z][A-Za-z-]+)(?: ?\((?:([\w-]+):)?(\w+)\))?")
_KEYWORD: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""RFC 8011 section 5.1.4."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One syntax and its bounds: of the number itself, or of a string's length in octets."""

    tag: Tag
    lower: int
    upper: int

    @classmethod
    def parse(cls, word: str, lower: str, upper: str) -> Choice:
        tag = _TAGS[word]
        if tag in _LONGEST:
            return cls(tag, 0, _LONGEST[tag] if upper in ("", "MAX") else int(upper))
        return cls(tag, _number(lower or "MIN"), _number(upper or "MAX"))

    def bounds(self, data: Data) -> bool:
        """Whether the number, or the length of the string, is within the bounds."""
        return all(self.lower <= measure <= self.upper for measure in _measures(data))


def _number(word: str) -> int:
    return _NUMBERS[word] if word in _NUMBERS else int(word)


def _measures(data: Data) -> tuple[int, ...]:
    """What the bounds of a syntax speak of."""
    match data:
        case bool():
            return ()
        case int():
            return (data,)
        case Range(lower, upper):
            return (lower, upper)
        case str() | Localized():
            return (len(str(getattr(data, "text", data)).encode()),)
        case bytes():
            return (len(data),)
    return ()


@dataclass(frozen=True, slots=True)
class Syntax:
    """What values an attribute takes, and whether several of them (``1setOf``)."""

    many: bool
    choices: tuple[Choice, ...]

    @classmethod
    def parse(cls, notation: str) -> Syntax:
        """From the notation of IANA: ``1setOf (type2 keyword | name(MAX))``. Raises ``KeyError`` for another word."""
        words = _CHOICE.findall(notation.replace("1setOf", ""))
        return cls("1setOf" in notation, tuple(Choice.parse(*word) for word in words))

    def choice(self, value: Value) -> Choice | None:
        """The choice that has the value's tag; text that is not UTF-8 has none."""
        tag = _PLAIN.get(value.tag, value.tag)
        if isinstance(value.data, bytes) and tag != Tag.OCTET_STRING:
            return None
        return next((choice for choice in self.choices if choice.tag == tag), None)

    def accepts(self, attribute: Attribute) -> bool:
        """Whether the values are as many, of the syntax and within the bounds that the registry says."""
        fitting = (choice and choice.bounds(v.data) for v in attribute.values for choice in [self.choice(v)])
        return (self.many or len(attribute.values) == 1) and all(fitting)


# Look-up


def _rows(notation: str) -> dict[str, Syntax]:
    lines = (line.split(None, 1) for line in notation.strip().splitlines())
    return {name: Syntax.parse(syntax) for name, syntax in lines}


EXTENSIONS: Final[Mapping[str, Syntax]] = _rows(_EXTENSIONS)
MEMBERS: Final[Mapping[str, Syntax]] = _rows(_MEMBERS)
OWN_TEMPLATES: Final[Mapping[str, Syntax]] = _rows(_OWN_TEMPLATES)
ATTRIBUTES: Final[Mapping[Kind, Mapping[str, Syntax]]] = {kind: _rows(rows) for kind, rows in _NOTATION.items()}
"""The syntax of each attribute, by where it lives: ``ATTRIBUTES[Kind.OPERATION]["document-format"]``."""

TEMPLATES: Final[Mapping[str, Syntax]] = {**ATTRIBUTES[Kind.JOB_TEMPLATE], **OWN_TEMPLATES}
"""What a job may ask for: the registry's Job Template attributes, and ours."""

_BY_NAME: Final[Mapping[str, Syntax]] = {
    name: syntax
    for table in (MEMBERS, *ATTRIBUTES.values(), OWN_TEMPLATES, EXTENSIONS)
    for name, syntax in table.items()
}
"""What to write when only the name is known: jobs and printers before operations, which are seldom written."""


# Building

Plain = int | str | bytes | datetime | Resolution | Range | Localized | Mapping[str, Any] | Value | None
"""What becomes a value: a mapping is a collection (a list in it is a 1setOf), ``None`` is no-value."""

_PYTHON: Final[Mapping[int, tuple[type, ...]]] = {
    **dict.fromkeys(STRINGS, (str,)),
    Tag.TEXT: (str, Localized),
    Tag.NAME: (str, Localized),
    Tag.INTEGER: (int,),
    Tag.ENUM: (int,),
    Tag.BOOLEAN: (bool,),
    Tag.OCTET_STRING: (bytes,),
    Tag.DATE_TIME: (datetime,),
    Tag.RESOLUTION: (Resolution,),
    Tag.RANGE_OF_INTEGER: (Range,),
    Tag.COLLECTION: (Mapping,),
}


def attribute(name: str, *data: Plain) -> Attribute:
    """An attribute in the syntax that the registry gives to its name.

    A ``str`` where keyword or name may stand is a keyword when it is spelled
    as one. Text and names for people are cut to their greatest length.

    Raises ``KeyError`` for a name that no table holds, ``ValueError`` for data
    of another syntax or out of bounds: both are mistakes of ours.
    """
    syntax = _BY_NAME[name]
    if len(data) > 1 and not syntax.many:
        raise ValueError(f"{name} takes one value")
    return Attribute(name, tuple(_value(name, syntax, plain) for plain in data))


def _value(name: str, syntax: Syntax, plain: Plain) -> Value:
    if isinstance(plain, Value):
        return plain
    if plain is None:
        return no_value()
    choice = _choose(syntax, plain)
    if choice is None:
        raise ValueError(f"{name} does not take {plain!r}")
    value = _write(choice, plain)
    if not choice.bounds(value.data):
        raise ValueError(f"{name}: {plain!r} is out of bounds")
    return value


def _choose(syntax: Syntax, plain: Plain) -> Choice | None:
    fitting = [choice for choice in syntax.choices if _takes(choice.tag, plain)]
    if len(fitting) > 1 and isinstance(plain, str):
        wanted = bool(_KEYWORD.fullmatch(plain))
        fitting.sort(key=lambda choice: (choice.tag == Tag.KEYWORD) != wanted)
    return fitting[0] if fitting else None


def _takes(tag: Tag, plain: Plain) -> bool:
    return isinstance(plain, _PYTHON.get(tag, ())) and (tag == Tag.BOOLEAN or not isinstance(plain, bool))


def _write(choice: Choice, plain: Plain) -> Value:
    match plain:
        case Mapping():
            return Value(choice.tag, tuple(attribute(name, *_listed(member)) for name, member in plain.items()))
        case datetime():
            return date_time(plain)
        case Localized(language, text):
            with_language = Tag.NAME_WITH_LANGUAGE if choice.tag == Tag.NAME else Tag.TEXT_WITH_LANGUAGE
            return Value(with_language, Localized(language, _cut(text, choice.upper)))
        case str() if choice.tag in (Tag.TEXT, Tag.NAME):
            return Value(choice.tag, _cut(plain, choice.upper))
        case bool():
            return Value(choice.tag, plain)
        case int():
            return Value(choice.tag, int(plain))
    return Value(choice.tag, cast(Data, plain))


def _listed(member: object) -> list[Any]:
    return list(member) if isinstance(member, list | tuple) else [member]


def _cut(text: str, octets: int) -> str:
    """At most that many octets of UTF-8, never half a character."""
    return text.encode()[:octets].decode(errors="ignore")


# Selecting (RFC 8011 sections 4.2.5.1, 4.2.6.1 and 4.3.4.1)

_SUFFIXES: Final = ("-default", "-supported", "-ready", "-database")
_DESCRIPTION: Final = {GroupTag.PRINTER: "printer-description", GroupTag.JOB: "job-description"}
_ON_REQUEST: Final = frozenset({"media-col-database"})
"""Too long for 'all' and 'job-template': sent when asked for by name (PWG 5100.7 section 6.9.23)."""


@cache
def _is_template(name: str) -> bool:
    """Whether 'job-template' means it: sides, sides-default, sides-supported, media-ready, media-type-supported."""
    stems = (name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix))
    return name in TEMPLATES or any(stem in TEMPLATES or (stem in MEMBERS and stem[:5] == "media") for stem in stems)


def select(group: Group, requested: Collection[str]) -> Group:
    """The attributes that a client asked for, in the order of ``group``.

    ``requested`` holds names and the group names 'all', 'job-template',
    'printer-description' and 'job-description'; nothing means 'all'. Names
    that the group lacks are passed over (RFC 8011 section 4.2.5.1).
    """
    wanted = frozenset(requested) or frozenset({"all"})
    description = _DESCRIPTION.get(GroupTag(group.tag), "")

    def asked(name: str) -> bool:
        if name in wanted:
            return True
        return name not in _ON_REQUEST and not wanted.isdisjoint(
            {"all", "job-template" if _is_template(name) else description}
        )

    return Group(group.tag, tuple(attribute for attribute in group if asked(attribute.name)))
