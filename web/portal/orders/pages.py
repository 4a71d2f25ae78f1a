"""The pages on which a sub-account is ordered, in five steps.

The typed values are saved in a draft, which can be resumed later. A draft is ordered at most once.
"""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from flask import Blueprint, abort, flash, jsonify, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from models.accounts.accounts import Account
from models.accounts.contract_holders import addressee_of, holder_of
from models.accounts.hierarchy import ensure_may_be_main
from models.errors import Forbidden, InvalidField, LimitReached, NotFound, RuleBroken
from models.orders.drafts import (
    Draft,
    DraftStep,
    begin_draft,
    find_draft,
    new_draft_id,
    open_drafts,
    order_once,
    own_draft,
    was_given_to,
)
from models.orders.offers import make_offer
from models.people.rights import Action, may
from models.states import Reason
from models.views.own_accounts import closed_accounts
from tasks.wording.company_limits import limit_text
from web.portal.orders.forms import LocationForm, typed_in
from web.portal.orders.number_hints import hints_for
from web.portal.orders.placed import already_ordered, to_card
from web.portal.orders.summary import refusal_of, submit, summary_facts
from web.portal.orders.wizard import ORDER, SLUGS, STEPS, Wizard, read_wizard
from web.portal.page.downloads import attachment
from web.portal.page.holder_form import HolderFields
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.page.selected_account import selected_account
from web.refused_rights import record_refused_right
from web.resources import resources

log = structlog.get_logger()

orders = Blueprint("orders", __name__, url_prefix="/standortverwaltung/neu")

TAKE_TOWN, KEEP_TOWN = "town:", "keep-town"
"""The values of two buttons: to take the proposed town, whose name follows `TAKE_TOWN`, or to keep the typed one."""

_STEP = "/<uuid:id>/<any(produkt, standort, rufnummern, kontakt, zusammenfassung):slug>"


@orders.get("")
@login_required
def begin() -> Response:
    """Redirect to the first step of a new order, with a new draft id. The draft is saved once something is typed."""
    with resources().database.transaction() as session:
        _ordering_account(session)
        id = new_draft_id(session, resources().vault, principal())
    return redirect(url_for("orders.show_step", id=id, slug=SLUGS[DraftStep.PRODUCT]))


@orders.get("/entwuerfe")
@login_required
def list_drafts() -> str:
    """Show the page of the selected account's order drafts that can be resumed."""
    now = resources().clock()
    with resources().database.transaction() as session:
        drafts = open_drafts(session, _ordering_account(session), now)
    return render_template("orders/drafts.html", drafts=drafts)


@orders.get("/hinweise")
@login_required
def show_hints() -> Response:
    """Return JSON about the typed address, area code and block size, for texts shown while the user types.

    The query parameters are `postal_code`, `city`, `area_code` and `block_size`. In the answer, `fits` says whether the
    area code can be that of the address (null: one of them is missing or wrong), `wrong` whether postal code and city
    cannot belong together, `unknown_town` whether the city may be misspelt. `towns` are the towns with the postal code,
    `suggestions` area codes for the address. `free_blocks` and `free_numbers` count the free blocks of this size in
    this area code, and their numbers (null: unknown). `city_text`, `area_text` and `free_text` are the texts below the
    fields.
    """
    asked = request.args
    with resources().database.transaction() as session:
        _ordering_account(session)
        found = hints_for(
            session,
            asked.get("postal_code", ""),
            asked.get("city", ""),
            asked.get("area_code", ""),
            asked.get("block_size", ""),
            resources().clock(),
        )
    return jsonify(
        {
            "fits": None if found.certainty is None else not found.mismatch,
            "wrong": bool(found.wrong_address),
            "unknown_town": found.unknown_town,
            "towns": list(found.towns),
            "free_blocks": found.free,
            "free_numbers": found.free * found.block_size if found.free is not None else None,
            "suggestions": [{"area_code": area.code, "town": area.name} for area in found.suggestions],
            "city_text": found.for_city,
            "area_text": found.for_area,
            "free_text": found.for_free,
        }
    )


@orders.get("/<uuid:id>")
@login_required
def resume(id: uuid.UUID) -> Response:
    """Redirect to the step at which the user left the draft `id`, or to an earlier one that is incomplete or invalid.

    The link in a PDF offer leads to this view. If the draft was ordered already, redirect to the overview. The answer
    is 404 if there is no such draft, if it has expired, or if the user may not order for its account.
    """
    with resources().database.transaction() as session:
        draft = own_draft(session, id, principal(), resources().clock())
        if draft.request_id is not None:
            return already_ordered(session, draft)
        wizard = _wizard(session, draft)
    return _to(id, draft.step if wizard.can_reach(draft.step) else wizard.first_wrong)


@orders.get(_STEP)
@login_required
def show_step(id: uuid.UUID, slug: str) -> Response | str:
    """Show the page of a step of the order, with its saved input. `slug` is the step's name in the URL.

    For a new order, the first step can be shown before there is a draft. Redirect to the first incomplete or invalid
    step if that comes before the requested one, and to the overview if the draft was ordered already. The answer is 404
    if there is no such draft, if it has expired, or if the user may not order for its account.
    """
    step, now = STEPS[slug], resources().clock()
    with resources().database.transaction() as session:
        drafts = 0
        if step is DraftStep.PRODUCT and _is_new(session, id):
            account = _ordering_account(session)
            wizard = read_wizard(session, id, account, None, now)
            drafts = len(open_drafts(session, account, now))
        else:
            draft = own_draft(session, id, principal(), now)
            if draft.request_id is not None:
                return already_ordered(session, draft)
            wizard = _wizard(session, draft)
        if not wizard.can_reach(step):
            return _to(id, wizard.first_wrong, check=True)
        summary = summary_facts(session, wizard) if step is DraftStep.SUMMARY else None
    if summary is not None:
        return render_template("orders/summary.html", **summary)
    form = wizard.checked[step] if "pruefen" in request.args else wizard.form(step)
    return _render(wizard, step, form, drafts=drafts)


@orders.post(_STEP)
@login_required
def save_step(id: uuid.UUID, slug: str) -> Response | tuple[str, int]:
    """Save the input of a step, valid or not, and redirect to the step that the pressed button asks for.

    `slug` is the step's name in the URL. If the user wants to go forward and the step has errors, show it again with
    them (status 422). If another step before the wanted one is incomplete or invalid, redirect to the first such step.
    Redirect to the list of drafts for the button that continues later, and to the overview if the draft was ordered
    already. The answer is 404 for the summary, which has no input, and for a draft that the user cannot use.
    """
    step = STEPS[slug]
    go = request.form.get("go", "next")
    with resources().database.transaction() as session:
        draft = _keep(session, id, step)
        if draft.request_id is not None:
            return already_ordered(session, draft)
        if go == "own" and step is DraftStep.CONTACT:
            own = {"contact_name": principal().name, "email": principal().email}
            draft.keep(own, step, resources().clock())
        if step is DraftStep.LOCATION and (city := _city_decided(go)) is not None:
            draft.keep(city, step, resources().clock())
        wizard = _wizard(session, draft)
        target = _target(step, go)
        ahead = ORDER.index(target) > ORDER.index(step)
        stays = ahead and bool(wizard.checked[step].errors)
        if not stays:
            # Not past the first step that is incomplete or invalid.
            target = target if wizard.can_reach(target) else wizard.first_wrong
            draft.go_to(target)
    if go == "later":
        flash(_("The order is saved. You can go on with it until it expires."))
        return redirect(url_for("orders.list_drafts"), 303)
    if stays:
        return _render(wizard, step, wizard.checked[step]), 422
    return _to(id, target)


@orders.post(_STEP + "/merken")
@login_required
def autosave(id: uuid.UUID, slug: str) -> Response:
    """Save the input of a step while the user types. A draft that was ordered already is not changed.

    `slug` is the step's name in the URL. Return JSON: `saved` is a text to show, `basket` the HTML of the chosen
    products and their prices. The answer is 404 for the summary, which has no input, and for a draft that the user
    cannot use.
    """
    step = STEPS[slug]
    if step is DraftStep.SUMMARY:
        abort(404)
    with resources().database.transaction() as session:
        wizard = _wizard(session, _keep(session, id, step))
    return jsonify({"saved": _("Saved."), "basket": render_template("orders/basket.html", wizard=wizard)})


@orders.get("/<uuid:id>/angebot.pdf")
@login_required
def offer(id: uuid.UUID) -> Response:
    """Download the order as a PDF offer, with a link that resumes the draft. The prices in it hold for 14 days.

    If an earlier offer is still valid and names all chosen products, its last day is kept. Also extends the time for
    which the draft is kept. Redirect to the first incomplete or invalid step if there is one, and to the overview if
    the draft was ordered already. The answer is 404 for a draft that the user cannot use.
    """
    now = resources().clock()
    with resources().database.transaction() as session:
        draft = own_draft(session, id, principal(), now, lock=True)
        if draft.request_id is not None:
            return already_ordered(session, draft)
        wizard = _wizard(session, draft)
        if wizard.first_wrong is not DraftStep.SUMMARY:
            return _to(id, wizard.first_wrong, check=True)
        draft.touch(now)
        addressee, holder = addressee_of(session, draft.account), holder_of(session, draft.account)
        until = make_offer(draft, [line for _product, line in wizard.priced], now)
        printed = wizard.printed(addressee, holder, locale())
    link = resources().settings.base_url.rstrip("/") + url_for("orders.resume", id=id)
    number = str(id)[-6:].upper()
    carrier = resources().settings.carrier
    from tasks.outbox.order_pdf import offer_pdf  # a large import, made only for an offer

    content = offer_pdf(printed, number, link, now, until, locale(), carrier)
    name = _("Offer-%(end)s.pdf", end=str(id)[-6:])
    return Response(content, mimetype="application/pdf", headers=attachment(name))


@orders.post("/<uuid:id>/bestellen")
@login_required
def place(id: uuid.UUID) -> Response | tuple[str, int]:
    """Place the order of the draft `id`, save an entered contract holder, and redirect to the overview.

    Nothing is ordered, and the summary is shown again with the entered contract holder, in three cases. The order or
    the contract holder is wrong (status 422). A limit of the company is reached (429). The order or a price has changed
    since the page was shown (409). Redirect to the first incomplete or invalid step if there is one. The answer is 404
    for a draft that the user cannot use. Safe to run twice, also concurrently: the second call orders nothing and leads
    to the request of the first.
    """
    now = resources().clock()
    refused, summary = 0, dict[str, Any]()
    try:
        with resources().database.transaction() as session:
            draft = own_draft(session, id, principal(), now, lock=True)
            if draft.request_id is None:
                wizard = _wizard(session, draft)
                if wizard.first_wrong is not DraftStep.SUMMARY:
                    return _to(id, wizard.first_wrong, check=True)
                typed = HolderFields(request.form)
                refused = refusal_of(session, wizard, typed)
                if refused:
                    summary = summary_facts(session, wizard, typed)
            accepted = None if refused else order_once(session, draft, lambda: submit(session, draft, wizard))
    except (InvalidField, LimitReached) as error:
        # What the forms accept and the rules refuse; an order that waits for a limit is kept.
        if isinstance(error, LimitReached):
            status, said = 429, limit_text(error, locale()) + " " + _("Your order is saved; you can place it then.")
        else:
            status, said = 422, _("This order is not possible as it is. Please check it once more.")
        flash(said, "warning")
        with resources().database.transaction() as session:
            wizard = _wizard(session, own_draft(session, id, principal(), now))
            summary = summary_facts(session, wizard, HolderFields(request.form))
        return render_template("orders/summary.html", **summary), status
    if accepted is None:
        return render_template("orders/summary.html", **summary), refused
    log.info("request.accepted", request=str(accepted.id), path=request.path)
    said = _("Thank you for your order. The new sub-account has customer number %(number)s.",
             number=accepted.customer_number)  # fmt: skip
    return to_card(said, accepted)


@orders.post("/<uuid:id>/loeschen")
@login_required
def delete(id: uuid.UUID) -> Response:
    """Delete the draft `id` and redirect to the list of drafts. The answer is 404 for a draft that the user cannot use.

    A draft that was ordered is not deleted, because it refers to its request: redirect to the ordered sub-account.
    """
    with resources().database.transaction() as session:
        draft = own_draft(session, id, principal(), resources().clock(), lock=True)
        if draft.request_id is not None:
            return already_ordered(session, draft)
        session.delete(draft)
    flash(_("The draft is deleted."))
    return redirect(url_for("orders.list_drafts"), 303)


@orders.errorhandler(RuleBroken)
def refuse(error: RuleBroken) -> tuple[str, int]:
    """Show a page (status 403) that says why the account cannot have sub-accounts: it is closed or a sub-account."""
    return render_template("orders/refused.html", reason=error.reason, Reason=Reason), 403


@orders.errorhandler(Forbidden)
def forbid(_error: Forbidden) -> tuple[str, int]:
    """Show a page (status 403) that says that the user may not order for the account.

    If the user has only closed accounts, the page names that as the reason.
    """
    record_refused_right()
    with resources().database.transaction() as session:
        closed = not principal().roles and closed_accounts(session, principal())
    reason = Reason.ACCOUNT_CLOSED if closed else None
    return render_template("orders/refused.html", reason=reason, Reason=Reason), 403


def _ordering_account(session: Session) -> Account:
    """Return the selected account, for which the user may order a sub-account.

    Raises `Forbidden` if no account is selected or the user may not order for it; `RuleBroken` if it is closed or
    itself a sub-account.
    """
    account = selected_account(session).account
    if account is None or not may(principal(), Action.ORDER, account):
        raise Forbidden
    ensure_may_be_main(account)
    return account


def _is_new(session: Session, id: uuid.UUID) -> bool:
    """Return whether this is the id of an order that the user has begun, but of which no draft has been saved yet."""
    return was_given_to(resources().vault, id, principal()) and find_draft(session, id) is None


def _keep(session: Session, id: uuid.UUID, step: DraftStep) -> Draft:
    """Lock the draft `id`, save the browser's input for the step in it, and return the draft.

    A draft that was ordered already is returned unchanged. At the first step, the draft of an order that the user has
    just begun is created. Raises `NotFound` if the step is the summary, or if the draft does not exist, has expired, or
    is of an account for which the user may not order.
    """
    now = resources().clock()
    if step is DraftStep.SUMMARY:
        raise NotFound
    if step is DraftStep.PRODUCT and _is_new(session, id):
        begin_draft(session, id, _ordering_account(session), principal(), now)
    draft = own_draft(session, id, principal(), now, lock=True)
    if draft.request_id is None:
        draft.keep(typed_in(step, request.form), step, now)
    return draft


def _wizard(session: Session, draft: Draft) -> Wizard:
    ensure_may_be_main(draft.account)
    return read_wizard(session, draft.id, draft.account, draft, resources().clock())


def _city_decided(go: str) -> dict[str, str] | None:
    """Return what the pressed button on the page of the location decides about the city, as form values by field name.

    `go` is the button's value. One button replaces the typed city by a known one (`city`), one keeps the typed city
    (`city_kept`). None for every other button.
    """
    if go.startswith(TAKE_TOWN):
        return {"city": go.removeprefix(TAKE_TOWN)}
    form = LocationForm(request.form)
    return {"city_kept": form.place} if go == KEEP_TOWN else None


def _target(step: DraftStep, go: str) -> DraftStep:
    place = ORDER.index(step)
    if go == "back":
        return ORDER[max(0, place - 1)]
    if go in ("own", "later"):
        return step
    return STEPS.get(go) or ORDER[place + 1]


def _render(wizard: Wizard, step: DraftStep, form: Any, *, drafts: int = 0) -> str:
    return render_template(
        f"orders/{step}.html",
        wizard=wizard,
        step=step,
        form=form,
        drafts=drafts,
        here=url_for("orders.show_step", id=wizard.id, slug=SLUGS[step]),
    )


def _to(id: uuid.UUID, step: DraftStep, *, check: bool = False) -> Response:
    return redirect(url_for("orders.show_step", id=id, slug=SLUGS[step], pruefen=1 if check else None), 303)
