"""What a task's tokens are of a text as it was given."""

from lathe.tasks.encoding import tokenize


def test_the_name_of_a_special_token_in_a_text_is_text(tokenizer):
    (one,) = tokenize(["the [SEP] film [MASK]"], tokenizer, None)
    assert one.input_ids.count(tokenizer.sep_token_id) == 1 and tokenizer.mask_token_id not in one.input_ids
    assert one.before == one.after == 1 and len(one.input_ids) == len(one.offsets)
    assert [start for start, end in one.offsets[1:-1]] == sorted(start for start, _ in one.offsets[1:-1])


def test_half_a_surrogate_pair_is_one_code_point(tokenizer):
    (one,) = tokenize(["影\ud83d 好"], tokenizer, None)
    assert one.offsets[-2] == (3, 4)
