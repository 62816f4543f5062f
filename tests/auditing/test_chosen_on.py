import numpy as np
import pytest
import yaml

from gli.auditing.chosen_on import NOT_DECLARED, who_chose
from gli.auditing.record import write_people
from gli.errors import DataError
from gli.runs.membership import Membership, write_membership
from tests.helpers.run_folders import PEOPLE, write_run


@pytest.fixture
def reported(tmp_path):
    return write_run(tmp_path / "reported")


@pytest.fixture
def rehearse(tmp_path):
    def rehearse(people=None, rehearsal=True):
        run = write_run(tmp_path / "search" / "trial")
        write_membership(run, Membership("trained here", rehearsal=rehearsal))
        others = {name: np.array([f"other {person}" for person in names]) for name, names in PEOPLE.items()}
        write_people(run, others | (people or {}))
        return run

    return rehearse


def test_the_records_show_that_other_people_chose(tmp_path, reported, rehearse):
    rehearse()
    assert who_chose([reported], [tmp_path / "search"]).startswith("30 other people, in 1 rehearsals")
    assert who_chose([reported], []) == NOT_DECLARED


def test_whoever_is_in_both_is_named(reported, rehearse):
    run = rehearse({"test": np.array(["forget3", "somebody"])})
    with pytest.raises(DataError, match=r"1 people chose the settings and are reported by .* \(forget3\)"):
        who_chose([reported], [run])


def test_an_ordinary_run_is_no_proof(reported, rehearse):
    with pytest.raises(DataError, match="is no rehearsal"):
        who_chose([reported], [rehearse(rehearsal=False)])


def test_names_of_another_table_are_not_compared(reported, rehearse):
    run = rehearse()
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["init_args"]["seed"] = 7
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(DataError, match="from another table"):
        who_chose([reported], [run])


def test_a_folder_without_runs_is_no_proof(tmp_path, reported):
    with pytest.raises(DataError, match="holds no run with records"):
        who_chose([reported], [tmp_path / "nowhere"])
