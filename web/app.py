"""The web application: the function `create_app` assembles the API, the portal and the endpoints for operators."""

from __future__ import annotations

import re
from datetime import timedelta
from time import perf_counter
from typing import Any
from uuid import uuid4

import structlog
from flask import Response, g, render_template, request
from flask_babel import Babel, get_locale
from flask_limiter import RateLimitExceeded
from flask_openapi3 import Info, OpenAPI
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from models.calendar_days import BERLIN
from models.contracts.costs import VAT_PERCENT
from models.db.session import Database
from models.db.transient_errors import is_outage
from models.errors import DomainError, Forbidden, InvalidField
from models.values import Clock
from models.vault import Vault
from models.version import VERSION
from tasks.hints import hint, sending_app
from tasks.logs import configure_logging
from tasks.wording.labels import carrier_page_text
from tasks.wording.link_rights import link_rights
from tasks.wording.text_direction import isolate_names
from tasks.wording.translate import CATALOGUES
from web.api import problems
from web.api.call_transaction import abandon_call_transaction
from web.api.document import completed
from web.api.endpoints import api
from web.api.schemas import Problem
from web.attempt_limits import Throttle
from web.caller import current_caller
from web.export_turns import RETRY_AFTER, ExportRefused, ExportTurns, Refusal
from web.health import health
from web.portal.accounts import (
    audit_log_export,
    contract_holder,
    costs,
    dashboard,
    location_groups,
    location_map,
    overview,
    overview_export,
    tags,
)
from web.portal.back_office import administrators as back_office_administrators
from web.portal.back_office import customers as back_office_customers
from web.portal.back_office import factor_reset as back_office_factor_reset
from web.portal.back_office import place_questions as back_office_place_questions
from web.portal.back_office import request as back_office_request
from web.portal.back_office.requests_and_jobs import office
from web.portal.bulk.pages import bulks
from web.portal.changes import cancellation, more_numbers, move
from web.portal.changes import pages as changes
from web.portal.links import collective_invoice, detach
from web.portal.links.wizard import links
from web.portal.messages.dev_mail import dev_mail
from web.portal.orders.pages import orders
from web.portal.page.blueprints import locations, portal
from web.portal.page.carrier import carrier_pages
from web.portal.page.font_files import typeface
from web.portal.page.kept_input import form_owner
from web.portal.page.locale import calendar_day, clock_time, counted, day, last_day, locale, moment, phone
from web.portal.page.login_session import AgelessSessions, choose_language, login_manager, session_cookie
from web.portal.page.money import euros
from web.portal.page.text_direction import IsolatingTranslations
from web.portal.people import api_tokens, approval_limit, company_factor, own_data, passwords, second_factors, step_up
from web.portal.people.login_sessions import logins
from web.portal.people.sign_in import answer_stale_form, people
from web.portal.people.users import users
from web.portal.proofs.consents import consents
from web.portal.proofs.emails import emails
from web.portal.proofs.letters import letters
from web.portal.proofs.link_codes import link_codes
from web.portal.requests import history
from web.portal.requests.approvals import approvals
from web.portal.requests.request_actions import answers
from web.portal.telephony import allowed_destinations, directory, inventory, phone_systems, request_uri, suspension
from web.portal.telephony.forwarding import forwardings
from web.portal.telephony.registrations_and_calls import telephone
from web.refused_fields import note_fields_of_forms, note_refused, refused_fields
from web.refused_rights import record_refused_right
from web.request_metrics import count_request
from web.request_tracing import trace_requests
from web.resources import Resources, resources, store_resources
from web.settings import WebSettings
from web.telephone_network import TelephoneNetwork
from web.text_input import IdConverter, TypedRequest, UniqueKeys, reject_unstorable_text
from web.uploads import allow_uploads

log = structlog.get_logger()

STATEMENT_LIMIT = 10.0
"""The time limit of one SQL statement of a page or API call, in seconds; a caller who waits longer has given up."""

# Imported for their routes, which they add to the blueprints `users`, `portal`, `locations` and `office`.
_PAGES = (
    overview,
    overview_export,
    location_groups,
    location_map,
    costs,
    dashboard,
    audit_log_export,
    api_tokens,
    passwords,
    own_data,
    second_factors,
    company_factor,
    approval_limit,
    step_up,
    contract_holder,
    tags,
    detach,
    cancellation,
    collective_invoice,
    changes,
    more_numbers,
    move,
    suspension,
    directory,
    phone_systems,
    request_uri,
    allowed_destinations,
    inventory,
    history,
    back_office_request,
    back_office_customers,
    back_office_administrators,
    back_office_factor_reset,
    back_office_place_questions,
)

_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_NO_DEVICES = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""The values of `X-Request-Id` that the log takes over: none can be mistaken for another line or field of the log."""
# For a year, as browsers' lists ask for; not for other hosts of the domain, which are not ours.
_HTTPS_ONLY = "max-age=31536000"


def create_app(settings: WebSettings | None = None, clock: Clock | None = None) -> OpenAPI:
    """Create the WSGI application. Opens no connection yet.

    `settings` are the application's settings; None reads them from the environment, which raises `SettingsError` if one
    is missing or invalid. `clock` returns the current time; None takes the database server's clock.
    """
    settings = settings or WebSettings()
    configure_logging(settings.log_format)
    app = OpenAPI(
        "web",
        info=Info(title="Standortverwaltung", version="1"),
        security_schemes={"bearer": {"type": "http", "scheme": "bearer"}},
        validation_error_callback=problems.invalid,
        validation_error_model=Problem,
        # Only the JSON document: its HTML viewers would need further packages.
        doc_ui=False,
    )
    app.request_class = TypedRequest
    app.json = UniqueKeys(app)
    app.session_interface = AgelessSessions()
    app.add_url_rule("/api/v1/openapi.json", "openapi", lambda: completed(app.api_doc))
    app.config.update(
        SECRET_KEY=settings.secret_keys[0],
        SECRET_KEY_FALLBACKS=settings.secret_keys[1:],
        **session_cookie(secure=settings.base_url.startswith("https://")),
        MAX_CONTENT_LENGTH=1_000_000,
        BABEL_DEFAULT_LOCALE="de",
        BABEL_DEFAULT_TIMEZONE=BERLIN.key,
        BABEL_TRANSLATION_DIRECTORIES=CATALOGUES,
        # Not a matter of taste: a token's age would be measured with the host's clock, as that of a session.
        WTF_CSRF_TIME_LIMIT=None,
    )
    if settings.trusted_proxies:
        # Only for the client's address, by which failed attempts are counted.
        proxies = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0)
        app.wsgi_app = proxies  # type: ignore[method-assign]
    trace_requests(app)
    _around_every_request(app)
    # Before CSRFProtect, because that reads the form.
    app.before_request(allow_uploads)
    app.before_request(reject_unstorable_text)
    app.url_map.converters["int"] = IdConverter
    database = Database(
        settings.database_url,
        pool_size=settings.web_threads,
        on_due=hint,
        name="standorte front",
        statement_limit=STATEMENT_LIMIT,
        # One thread is left for what needs no database, such as /healthz, while the database does not answer.
        # Of three threads or fewer all are needed for pages.
        at_once=settings.web_threads - 1 if settings.web_threads > 3 else None,
        caller=current_caller,
    )
    clock = clock or database.now
    vault, throttle = Vault(*settings.secret_keys), Throttle(app, settings.redis_url, database)
    exports = ExportTurns(throttle.storage, settings.web_threads)
    network = TelephoneNetwork(settings.registrar_url, clock) if settings.registrar_url is not None else None
    store_resources(app, Resources(settings, database, vault, clock, throttle, exports, network))
    # The default Celery app is the one that sends the tasks of `tasks.celery_tasks`.
    sending_app("standorte-front", settings.hints_url, connections=settings.web_threads).set_default()
    Babel(app, locale_selector=choose_language).domain_instance = IsolatingTranslations()
    isolate_names(app.jinja_env, counted)
    app.jinja_env.globals.update(get_locale=get_locale, VAT_PERCENT=VAT_PERCENT, version=VERSION)
    app.jinja_env.globals.update(link_rights=lambda: link_rights(locale()))
    app.jinja_env.globals.update(carrier=settings.carrier, carrier_page_text=carrier_page_text, form_owner=form_owner)
    app.jinja_env.filters["moment"] = moment
    app.jinja_env.filters["day"] = day
    app.jinja_env.filters["calendar_day"] = calendar_day
    app.jinja_env.filters["clock_time"] = clock_time
    app.jinja_env.filters["last_day"] = last_day
    app.jinja_env.filters["phone"] = phone
    app.jinja_env.filters["euros"] = euros
    csrf = CSRFProtect(app)
    csrf.exempt(api)
    login_manager.init_app(app)
    note_fields_of_forms(app)
    app.register_api(api)
    for blueprint in (
        health, people, logins, users, portal, locations, answers, link_codes, letters, emails, consents, approvals,
        links, orders, bulks, forwardings, telephone, office, carrier_pages, typeface,
    ):  # fmt: skip
        app.register_blueprint(blueprint)
    if settings.shows_dev_mail:
        app.register_blueprint(dev_mail)
    elif settings.dev_mail_dir is not None:
        log.warning("dev_mail.refused", base_url=settings.base_url, trusted_proxies=settings.trusted_proxies)
    _handle_errors(app)
    return app


def _handle_errors(app: OpenAPI) -> None:
    def is_api() -> bool:
        return request.path.startswith("/api/")

    def domain(error: DomainError) -> Any:
        if isinstance(error, Forbidden):
            # A call of the API may still have its transaction open.
            abandon_call_transaction()
            record_refused_right()
        if is_api():
            return problems.of_domain_error(error)
        if isinstance(error, InvalidField):
            note_refused(error.field, error.code)
            return _render_error(422, field=error.field), 422
        return _render_error(404), 404

    def http(error: HTTPException) -> Any:
        if error.response is not None:
            return error.response
        return problems.of_http_error(error) if is_api() else (_render_error(error.code or 500), error.code)

    def throttled(_: RateLimitExceeded) -> Any:
        wait = resources().throttle.seconds_to_wait()
        if is_api():
            return problems.of_throttle(wait)
        again_at = resources().clock() + timedelta(seconds=wait)
        return _render_error(429, again_at=again_at), 429, {"Retry-After": str(wait)}

    def export_refused(error: ExportRefused) -> Any:
        page = render_template("page/export_refused.html", refusal=error.refusal, here=request.full_path.rstrip("?"))
        if error.refusal is Refusal.TOO_LONG:
            return page, 422
        return page, 429, {"Retry-After": str(RETRY_AFTER)}

    def unexpected(error: Exception) -> Any:
        if is_outage(error):
            answer = problems.of_outage(error)
            g.database_is_away = True
            return answer if is_api() else (_render_error(503), 503, {"Retry-After": answer.headers["Retry-After"]})
        answer = problems.of_bug(error)
        return answer if is_api() else (_render_error(500), 500)

    app.register_error_handler(DomainError, domain)
    app.register_error_handler(CSRFError, answer_stale_form)
    app.register_error_handler(HTTPException, http)
    app.register_error_handler(RateLimitExceeded, throttled)
    app.register_error_handler(ExportRefused, export_refused)
    app.register_error_handler(Exception, unexpected)


def _render_error(status: int, **facts: Any) -> str:
    return render_template("page/error.html", status=status, **facts)


def _around_every_request(app: OpenAPI) -> None:
    @app.before_request
    def begin() -> None:
        g.began = perf_counter()
        structlog.contextvars.clear_contextvars()
        given = request.headers.get("X-Request-Id", "")
        structlog.contextvars.bind_contextvars(http=given if _REQUEST_ID.fullmatch(given) else uuid4().hex)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", _CSP)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Permissions-Policy"] = _NO_DEVICES
        if app.config["SESSION_COOKIE_SECURE"]:
            response.headers["Strict-Transport-Security"] = _HTTPS_ONLY
        count_request(request.endpoint, response.status_code, perf_counter() - g.get("began", perf_counter()))
        if request.endpoint != "static":
            response.headers.setdefault("Cache-Control", "no-store")
            rule = request.url_rule.rule if request.url_rule else "-"
            took = round(perf_counter() - g.get("began", perf_counter()), 4)
            # Monitoring calls these endpoints every few seconds; only errors are logged.
            if request.blueprint != health.name or response.status_code >= 400:
                refused = {"refused": refused_fields()} if response.status_code == 422 else {}
                log.info("http", method=request.method, rule=rule, status=response.status_code, took=took, **refused)
        return response
