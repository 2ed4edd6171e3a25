import pytest

from revgan.files import write_text


def test_an_error_names_the_file_that_was_meant(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "missing" / "config.yaml", "text")
    assert caught.value.filename == str(tmp_path / "missing" / "config.yaml")
    assert ".part" not in str(caught.value)


def test_a_place_taken_by_a_folder_is_named_and_nothing_is_left_beside_it(tmp_path):
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "config.yaml", "text")
    assert ".part" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
