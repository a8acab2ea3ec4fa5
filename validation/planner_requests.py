"""What the planner's page asks for. Values are texts as they would be typed on the command line."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from echolith.validation.plan import Least

Name = Annotated[str, Field(max_length=200)]
Text = Annotated[str, Field(max_length=2000)]
Texts = Annotated[dict[Name, Text], Field(max_length=500)]


class Asked(BaseModel):
    """A scenario, the settings that differ from its defaults, and what a plan goes through.

    Attributes
    ----------
    page : str
        Which window asks; its next request of the same kind supersedes this one.
    scenario : str
    seed : int
        Of the specimen.
    settings : dict
        Text of each changed setting, by dotted name.
    over : dict
        ``[value, value]`` or ``low..high`` of each setting to go through.
    point : dict
        Text of the present value of each setting to go through.
    target : dict
        Largest error of each quantity.
    share, factor : str
    budget : dict
    least : Least
    trial : str
        How many measurements are simulated at the result; empty: none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    page: Name
    scenario: Name
    seed: Annotated[int, Field(ge=0)] = 0
    settings: Texts = {}
    over: Texts = {}
    point: Texts = {}
    target: Texts = {}
    share: Text = "0.9"
    factor: Text = "1"
    budget: Texts = {}
    least: Least = Least.DOSE
    trial: Text = ""


class AskedBound(Asked):
    """The bound at a point and along every setting gone through.

    Attributes
    ----------
    number : int
        Returned with the answer, so that an older one never replaces a newer one.
    """

    number: int
