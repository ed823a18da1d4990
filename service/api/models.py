from datetime import datetime
from typing import Literal

from apiflask import APIBlueprint
from pydantic import BaseModel, Field

from service import activation
from service.activation import ModelState
from service.api.endpoint import caller, endpoint, product, session
from service.fields import Strict
from service.models import Activation
from service.shadowing import list_changes

blueprint = APIBlueprint("models", __name__, tag="Models")


class ModelOut(BaseModel):
    model_version: str
    active: bool
    previous: bool = Field(description="A rollback goes to this one.")
    at_hand: bool = Field(description="Its bundle is on the host that answers.")
    specimens: int = Field(description="Active and pending specimens that have templates of this version.")
    missing: int = Field(description="Those that an activation would embed.")
    needs_reenrolment: int = Field(description="Those whose image is gone, or that this version cannot read.")


class ModelList(BaseModel):
    items: list[ModelOut]
    next_cursor: None = Field(None, description="Always null: all of them are in one answer.")


class NewActivation(Strict):
    mode: Literal["shadow", "switch", "rollback"] = Field(
        description="`shadow` embeds everything and then scores beside the active version; `switch` embeds what is "
        "missing and makes the version active; `rollback` does so with the version that was active before."
    )


class ChangeOut(BaseModel):
    active: str = Field(description="The outcome that was answered.")
    shadow: str = Field(description="The outcome in the shadow; `not_enrolled` where nobody has a template.")
    verifications: int


class ActivationOut(BaseModel):
    activation_id: str
    model_version: str
    from_version: str
    mode: str
    state: str = Field(description="`reembedding`, `shadowing`, `done` or `failed`")
    done: int = Field(description="Specimens that have templates of the version.")
    total: int = Field(description="Specimens that can have them.")
    needs_reenrolment: int = Field(description="Specimens that cannot: their image is gone or unreadable.")
    problem: str | None = Field(description="Why it failed, or what it waits for, as a code.")
    created_at: datetime
    shadow_until: datetime | None
    finished_at: datetime | None
    outcomes: list[ChangeOut] = Field(description="How outcomes would change, counted in the shadow.")


@endpoint(blueprint, "GET", "/models", scope="models", returns=ModelList)
def list_models() -> ModelList:
    """List model versions: which is active, and how much of what is enrolled each can judge"""
    states = activation.list_models(session(), product().models)
    return ModelList(items=[_show_model(state) for state in states], next_cursor=None)


@endpoint(
    blueprint,
    "POST",
    "/models/<model_version>/activation",
    scope="models",
    body=NewActivation,
    returns=ActivationOut,
    status=202,
    refusals=("model_not_found", "model_broken", "model_active", "model_not_previous", "activation_running"),
)
def start_activation(model_version: str, body: NewActivation) -> ActivationOut:
    """Bring a model version into service, in the background and without an interruption

    One at a time. A version that scores in the shadow keeps nobody from starting the next one, which ends the shadow.
    """
    started = activation.start(session(), product().models, model_version, body.mode, actor=caller().key_id)
    return show_activation(started)


@endpoint(
    blueprint,
    "GET",
    "/activations/<activation_id>",
    scope="models",
    returns=ActivationOut,
    refusals=("activation_not_found",),
)
def get_activation(activation_id: str) -> ActivationOut:
    """Show how far an activation is, and what its shadow would have answered"""
    return show_activation(activation.get_activation(session(), activation_id))


def show_activation(row: Activation) -> ActivationOut:
    outcomes = [ChangeOut(**change._asdict()) for change in list_changes(session(), row)]
    shown = {name: getattr(row, name) for name in ActivationOut.model_fields if name != "outcomes"}
    return ActivationOut(**shown, outcomes=outcomes)


def _show_model(state: ModelState) -> ModelOut:
    return ModelOut(
        model_version=state.model_version,
        active=state.is_active,
        previous=state.is_previous,
        at_hand=state.is_at_hand,
        specimens=state.specimens,
        missing=state.missing,
        needs_reenrolment=state.needs_reenrolment,
    )
