"""The portal's German texts from the specification, each with its English translation.

Browser tests find links and buttons by these texts.
"""

from __future__ import annotations

# The texts of the specification and of the pages that follow it; `{}` is a customer number or an address.
ENGLISH = {
    # The specification.
    "Mein Produkt": "My product",
    "Standortverwaltung": "Locations",
    "Unternehmensstandorte": "Company locations",
    "Nebenaccount hinzufügen": "Add sub-account",
    "Neuen Nebenaccount erstellen": "Create a new sub-account",
    "Bestehendes Konto hinzufügen": "Add an existing account",
    "Hauptaccount": "Main account",
    "Zuordnung": "Affiliation",
    "Nebenaccount": "Sub-account",
    "Kundennummer: {}": "Customer number: {}",
    "Dashboard anzeigen {}": "Show dashboard {}",
    "Neu": "New",
    "Wir haben den Auftrag erhalten und beginnen zeitnah mit der Umsetzung": (
        "We have received your order and will start work shortly."
    ),
    # Signing in.
    "E-Mail-Adresse": "E-mail address",
    "Passwort": "Password",
    "Anmelden": "Sign in",
    "Willkommen, {}": "Welcome, {}",
    "Neues Passwort": "New password",
    "Einladung annehmen": "Accept the invitation",
    "Ihre ersten Schritte": "Your first steps",
    "Zugangsdaten abrufen": "Get the credentials",
    "Rufweiterleitung einrichten": "Set up call forwarding",
    "Kollegen einladen": "Invite your colleagues",
    "Ihr Passwort": "Your password",
    "SIP-Passwort anzeigen": "Show the SIP password",
    # Call forwarding.
    "Immer": "Always",
    "Weiterleiten an": "Forward to",
    "Speichern": "Save",
    "Gilt jetzt": "In force now",
    "Entfernen": "Remove",
    "Anrufe werden nicht weitergeleitet.": "Calls are not forwarded.",
    "Abmelden": "Sign out",
    # The order.
    "Produkt und Optionen": "Product and options",
    "SIP-Trunk mit 10 Kanälen": "SIP trunk, 10 channels",
    "Weiter": "Next",
    "Standort": "Location",
    "Name des Standorts": "Name of the location",
    "Straße und Hausnummer": "Street and house number",
    "Postleitzahl": "Postal code",
    "Ort": "City",
    "Rufnummern": "Phone numbers",
    "Vorwahl": "Area code",
    "Mobilfunknummer für die Notfall-Umleitung": "Mobile number for the fallback",
    "Rufnummernblock mit 10 Nummern": "Block of 10 numbers",
    "Ansprechperson": "Contact person",
    "Name der Ansprechperson": "Contact's name",
    "E-Mail-Adresse der Ansprechperson": "Contact's e-mail address",
    "Standort (erledigt)": "Location (done)",
    "Meine Angaben übernehmen": "Use my own details",
    "Weiter: alles prüfen": "Next: check everything",
    "Zusammenfassung": "Summary",
    "zahlungspflichtig bestellen": "Order with obligation to pay",
    "Vielen Dank für Ihre Bestellung. Der neue Nebenaccount hat die Kundennummer {}.": (
        "Thank you for your order. The new sub-account has customer number {}."
    ),
    "Diese Bestellung ist schon aufgegeben. Der neue Nebenaccount hat die Kundennummer {}.": (
        "This order was placed already. The new sub-account has customer number {}."
    ),
    # The proofs of an order.
    "Ansehen, was noch fehlt {}": "See what is awaited {}",
    "Code": "Code",
    "Kundennummer": "Customer number",
    "Adresse bestätigen": "Confirm the address",
    "E-Mail-Adresse bestätigen": "Confirm e-mail address",
    "Die E-Mail-Adresse ist bestätigt": "The e-mail address is confirmed",
    "Anschlussadresse bestätigen": "Confirm the connection address",
    "Die Anschlussadresse ist bestätigt": "The connection address is confirmed",
    "Der Anschluss ist bereit, und der Account steht in Ihrer Übersicht.": (
        "The line is ready, and the account is in your overview."
    ),
    # The link.
    "{} als Nebenaccount hinzufügen": "Add {} as a sub-account",
    "Mit den Zugangsdaten des anderen Accounts": "With the other account's login",
    "E-Mail-Adresse des anderen Zugangs": "E-mail address of the other login",
    "Passwort des anderen Zugangs": "Password of the other login",
    "Mit einem Verknüpfungscode": "With a link code",
    "Verknüpfungscode": "Link code",
    "Verknüpfungscode erstellen {}": "Create a link code {}",
    "Mit Zustimmung per E-Mail": "By consent by e-mail",
    "Was bleibt, wie es ist": "What stays as it is",
    "Was sich ändert": "What changes",
    "Account hinzufügen": "Add the account",
    "Um Zustimmung bitten": "Ask for consent",
    "Darf Ihr Account {} zugeordnet werden?": "May your account {} be attached?",
    "Zustimmungen {} offen": "Consents {} open",
    "Ansehen und entscheiden {}": "Read and decide {}",
    "Ich stimme zu": "I agree",
    "Ich lehne ab": "I decline",
    "Antwort absenden": "Send the answer",
    "Die Zustimmung ist erteilt": "Consent was given",
    "Die Anfrage ist abgelehnt": "The request was declined",
    "Die Frist für eine Antwort ist abgelaufen": "The time to answer has run out",
    "Der Account steht jetzt in Ihrer Übersicht. Für sein eigenes Team hat sich nichts geändert.": (
        "The account is now in your overview. Nothing has changed for its own team."
    ),
    "Ein Administrator des Accounts hat die Verknüpfung abgelehnt.": (
        "An administrator of the account has declined the link."
    ),
    "Die Bestellung ist inzwischen beendet.": "The order has ended in the meantime.",
    "Die Frist ist abgelaufen.": "The time for an answer has run out.",
    # Actions on a request, and its outcomes.
    "Verlauf": "Timeline",
    "Verlauf von {} anzeigen": "Show progress of {}",
    "Zurück zur Standortverwaltung": "Back to the locations",
    "Neue Anfrage stellen": "Make a new request",
    "Neu bestellen": "Order again",
    "Wartet auf Antwort": "Waiting for an answer",
    "Wir versuchen es erneut.": "We are trying again.",
    "Die Anfrage wurde zurückgezogen": "The request was cancelled",
    "Die Frist für die Bestätigung ist abgelaufen": "The time to confirm has run out",
    "Anfrage stornieren": "Cancel the request",
    "Anfrage behalten": "Keep it",
    "Erneut versuchen": "Try again",
    "Abgeschlossen": "Completed",
    "Abgelehnt": "Rejected",
    "Storniert": "Cancelled",
    "Fehlgeschlagen": "Failed",
    # The back office.
    "Dokument einreichen": "Hand in the document",
    "Zu erledigen": "To do",
    "Bestellung · Kundennummer: {}": "Order · Customer number: {}",
    "Dokument ansehen und entscheiden": "Look at the document and decide",
    "Adressnachweis": "Address proof",
    "Dokument öffnen": "Open the document",
    "Freigeben": "Release",
    "Entscheidung speichern": "Save the decision",
    "Das Dokument ist freigegeben, die Adresse ist nachgewiesen.": "The document is released, the address is proved.",
    "Nichts zu erledigen": "Nothing to do",
    # Detaching.
    "Lösen": "Detach",
    "Account lösen": "Detach the account",
    "Der Account {} wird gelöst. Danach bekommen die Administratoren beider Seiten eine E-Mail.": (
        "Account {} is being detached. After that the administrators of both sides get an e-mail."
    ),
}
