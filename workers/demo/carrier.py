"""The settings of the fictitious carrier that the embedded stack shows to customers, by environment variable."""

from __future__ import annotations

from collections.abc import Mapping

DEMO_CARRIER: Mapping[str, str] = {
    "CARRIER_NAME": "Beispiel Telefon GmbH",
    "CARRIER_ADDRESS": "Musterstraße 1, 10115 Berlin",
    "CARRIER_PHONE": "030 23125000",
    "CARRIER_EMAIL": "service@portal.example",
    "CARRIER_IMPRINT": """\
Beispiel Telefon GmbH
Musterstraße 1
10115 Berlin

Geschäftsführung: Erika Beispiel
Amtsgericht Charlottenburg, HRB 000000
Umsatzsteuer-Identifikationsnummer: DE000000000

Telefon: 030 23125000
E-Mail: service@portal.example

Dieses Unternehmen ist erfunden. Das echte Impressum steht in der Einstellung CARRIER_IMPRINT.""",
    "CARRIER_PRIVACY": """\
Verantwortlich ist die Beispiel Telefon GmbH, Musterstraße 1, 10115 Berlin.

Wir verarbeiten Namen, Anschriften, E-Mail-Adressen und Rufnummern, um Ihre Verträge zu erfüllen.

Sie haben das Recht auf Auskunft, Berichtigung, Löschung und Beschwerde.

Dieser Text ist erfunden. Die echten Datenschutzhinweise stehen in der Einstellung CARRIER_PRIVACY.""",
    "CARRIER_TERMS": """\
Angebote richten sich nur an Unternehmen. Preise sind Nettopreise in Euro zuzüglich Umsatzsteuer.

Dieser Text ist erfunden. Die echten Geschäftsbedingungen stehen in der Einstellung CARRIER_TERMS.""",
    "CARRIER_HELP": """\
Unter „Standortverwaltung“ sehen Sie alle Ihre Accounts, bestellen neue Standorte und verknüpfen bestehende.

Fragen beantworten wir Ihnen gern: 030 23125000, service@portal.example.

Dieser Text ist erfunden. Der echte steht in der Einstellung CARRIER_HELP.""",
}
