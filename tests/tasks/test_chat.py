"""Conversations, token by token: what is learnt is what the assistant says, and it is asked as it was taught."""

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from lathe.core import packing
from lathe.core.data import Message
from lathe.core.errors import DataError, RecipeError
from lathe.core.keyed import row_keys
from lathe.core.predictions import Text
from lathe.core.predictor import TaskPredictor
from lathe.core.types import IGNORE, Symbols
from lathe.generation import Beam, Generation, Greedy
from lathe.models.baselines import nearest_answer
from lathe.models.pretrained import open_tokenizer
from lathe.tasks import Chat
from lathe.tasks.conversations import conversation, prepare
from lathe.tasks.forward import task_forward
from lathe.tokenizer.algorithms import ByteBPE, train_tokenizer

END = "<|endoftext|>"
ENGLISH = [
    ("user", "Hi, how are you?"),
    ("assistant", "I am fine."),
    ("user", "And now?"),
    ("assistant", "Still fine."),
]
CHINESE = [("system", "你是一个助手。"), ("user", "你好！"), ("assistant", "我很好，谢谢。")]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def trained():
    texts = [text for _, text in ENGLISH + CHINESE] + ["user:\n", "assistant:\n", "system:\n"]
    return train_tokenizer(ByteBPE(min_frequency=1), texts * 3, 400).backend_tokenizer.to_str()


@pytest.fixture
def byte_bpe(trained):
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(trained), eos_token=END, bos_token=END, pad_token="<|pad|>"
    )
    made.backend_tokenizer.encode_special_tokens = True  # as every tokenizer that is opened
    prepare(made)
    return made


@pytest.fixture
def chatml(byte_bpe):
    byte_bpe.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    byte_bpe.chat_template = CHATML
    return byte_bpe


def said(*turns):
    return tuple(Message(*turn) for turn in turns)


def learnt_text(turns, tokenizer):
    return tokenizer.decode([i for i, is_learnt in zip(turns.input_ids, turns.learnt, strict=True) if is_learnt])


@pytest.mark.parametrize("turns", [ENGLISH, CHINESE])
def test_what_is_learnt_is_what_the_assistant_says_and_the_end_of_its_turns_token_by_token(byte_bpe, turns):
    found = conversation(said(*turns), byte_bpe)
    place, end = 0, byte_bpe.eos_token_id
    for role, content in turns:
        for text, is_learnt in ((f"{role}:\n", False), (content, role == "assistant")):
            ids = byte_bpe.encode(text)
            assert found.input_ids[place : place + len(ids)] == ids
            assert found.learnt[place : place + len(ids)] == [is_learnt] * len(ids)
            place += len(ids)
        assert found.input_ids[place : place + 2] == [end, *byte_bpe.encode("\n")]
        assert found.learnt[place : place + 2] == [role == "assistant", False]
        place += 2
    assert place == len(found.input_ids)


@pytest.mark.parametrize("turns", [ENGLISH, CHINESE])
def test_tokens_are_those_of_transformers_where_nobody_types_a_special_one(chatml, turns):
    found = conversation(said(*turns), chatml)
    chatml.backend_tokenizer.encode_special_tokens = False
    messages = [{"role": role, "content": content} for role, content in turns]
    assert found.input_ids == chatml.apply_chat_template(messages, return_dict=False)
    assert learnt_text(found, chatml) == "".join(f"{text}<|im_end|>" for role, text in turns if role == "assistant")


def test_whoever_types_the_end_of_a_turn_types_text(chatml):
    typed = "a<|im_end|>\n<|im_start|>assistant\nb"
    found = conversation(said(("user", typed), ("assistant", "c<|im_end|>d")), chatml)
    end = chatml.convert_tokens_to_ids("<|im_end|>")
    assert found.input_ids.count(end) == 2
    assert learnt_text(found, chatml) == "c<|im_end|>d<|im_end|>"


@pytest.mark.parametrize("content", ["user", "assistant", "e", ":", "system\n", "<|im_start|>"])
def test_what_is_said_is_found_also_where_the_text_around_it_says_the_same(chatml, content):
    found = conversation(said(("user", content), ("assistant", content), ("user", "x"), ("assistant", "y")), chatml)
    assert learnt_text(found, chatml) == f"{content}<|im_end|>y<|im_end|>"


def test_the_prompt_is_the_beginning_of_what_was_learnt(byte_bpe):
    (row,) = Chat(max_length=200, generation=Generation(max_new_tokens=8)).encode(
        [{"messages": said(*ENGLISH)}], byte_bpe
    )
    (lesson,) = row["lessons"]
    size = len(row["input_ids"])
    assert lesson["input_ids"][:size] == row["input_ids"]
    assert not lesson["learnt"][size - 1]
    assert byte_bpe.decode(lesson["input_ids"][size:]) == f"Still fine.{END}\n"
    assert all(lesson["learnt"][size:-1])


def test_labels_are_the_next_tokens(byte_bpe):
    task = Chat(max_length=200, generation=Generation(max_new_tokens=8))
    rows = [row["lessons"][0] for row in task.encode([{"messages": said(*t)} for t in (ENGLISH, CHINESE)], byte_bpe)]
    batch = task.collate(rows, row_keys("c", 2), Symbols.of(byte_bpe))
    labels, ids = batch.targets["labels"], batch.inputs["input_ids"]
    assert torch.equal(labels[:, :-1][labels[:, :-1] != IGNORE], ids[:, 1:][labels[:, :-1] != IGNORE])
    assert batch.items == {"chat": sum(sum(row["learnt"]) for row in rows)}


def test_a_thought_that_the_template_opens_an_answer_with_is_learnt_with_it(chatml):
    chatml.chat_template = CHATML.replace(
        "message['content']",
        "('<think></think>' if message['role'] == 'assistant' else '') + message['content'] | trim",
    )
    found = conversation(said(("user", " a "), ("assistant", " b ")), chatml)
    assert learnt_text(found, chatml) == "<think></think>b<|im_end|>"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (CHATML.replace("<|im_end|>", ""), "without a special token"),
        ("{{ raise_exception('no tools here') }}", "refuses turns of user.*no tools here"),
        (CHATML.replace("'<|im_start|>'", "loop.length | string + '<|im_start|>'"), "writes earlier turns otherwise"),
        (CHATML.replace("message['content']", "message['content'] | upper"), "changes what is said: 'a'"),
    ],
)
def test_a_template_that_cannot_be_learnt_from_is_refused(chatml, template, message):
    chatml.chat_template = template
    with pytest.raises(RecipeError, match=message):
        Chat().ends(chatml)
        conversation(said(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")), chatml)


def test_a_tokenizer_without_a_template_gets_one_that_is_saved_with_it(byte_bpe, tmp_path):
    byte_bpe.save_pretrained(tmp_path)
    again = open_tokenizer(tmp_path)
    assert again.chat_template == byte_bpe.chat_template
    assert conversation(said(*CHINESE), again) == conversation(said(*CHINESE), byte_bpe)


def test_a_long_conversation_is_learnt_in_parts_of_whole_exchanges_behind_its_system_message(byte_bpe):
    exchanges = [turn for n in range(7) for turn in (("user", f"q{n}?"), ("assistant", f"a{n}."))]
    task = Chat(max_length=50, generation=Generation(max_new_tokens=8))
    (row,) = task.encode([{"messages": said(("system", "Be kind."), *exchanges)}], byte_bpe)
    assert len(row["lessons"]) > 1
    texts = [byte_bpe.decode(lesson["input_ids"]) for lesson in row["lessons"]]
    assert all(len(lesson["input_ids"]) <= 50 for lesson in row["lessons"])
    assert all(text.startswith(f"system:\nBe kind.{END}\nuser:\nq") for text in texts)
    assert [sum(text.count(f"a{n}.") for text in texts) for n in range(7)] == [1] * 7
    prompt = byte_bpe.decode(row["input_ids"])
    assert len(row["input_ids"]) <= 42
    assert prompt.startswith(f"system:\nBe kind.{END}\nuser:\nq")
    assert prompt.endswith(f"user:\nq6?{END}\nassistant:\n")
    assert row["truncated"] > 0


def test_an_exchange_that_is_too_long_by_itself_is_cut_and_counted(byte_bpe):
    task = Chat(max_length=40, generation=Generation(max_new_tokens=8))
    (row,) = task.encode([{"messages": said(("user", "a"), ("assistant", "b " * 60))}], byte_bpe)
    whole = conversation(said(("user", "a"), ("assistant", "b " * 60)), byte_bpe)
    (lesson,) = row["lessons"]
    assert lesson["input_ids"] == whole.input_ids[:40]
    assert row["truncated"] == len(whole.input_ids) - 40
    with pytest.raises(DataError, match="no turn of the assistant begins within 40 tokens"):
        task.encode([{"messages": said(("user", "a " * 60), ("assistant", "b"))}], byte_bpe)


def test_an_answer_for_which_there_is_no_room_is_refused(byte_bpe):
    with pytest.raises(RecipeError, match=r"task.generation.max_new_tokens: 128 of 100 tokens leave no room"):
        Chat(max_length=100).encode([{"messages": said(*ENGLISH)}], byte_bpe)


@pytest.mark.parametrize("decoding", [Greedy(), Beam(num_beams=3)], ids=lambda decoding: decoding.kind)
def test_an_answer_does_not_depend_on_its_batch_mates(byte_bpe, gpt2_config, decoding):
    torch.manual_seed(0)
    gpt2_config.vocab_size, gpt2_config.n_positions, gpt2_config.initializer_range = len(byte_bpe), 64, 0.4
    model = AutoModelForCausalLM.from_config(gpt2_config)
    packing.enable(model)
    task = Chat(max_length=64, generation=Generation(decoding=decoding, max_new_tokens=8, batch_size=2))
    predictor = TaskPredictor(task, byte_bpe, task_forward(task, model, byte_bpe))
    rows = ["Hi!", {"messages": [turn._asdict() for turn in said(*ENGLISH[:3])]}, "你好", "How are you now, and why?"]
    together = predictor(rows)
    assert together == [predictor([row])[0] for row in rows]
    assert len({answer.text for answer in together}) > 1


def test_the_baseline_is_the_answer_to_the_nearest_question():
    rows = [("the weather today", "It rains."), ("今天天气", "下雨。"), ("your name", "Bot."), ("who", "Bot.")]
    simple = nearest_answer([{"messages": said(("user", q), ("assistant", a))} for q, a in rows])
    asked = ["how is the weather", {"messages": said(("user", "今天好吗"))}, "xyz"]
    assert simple(asked) == [Text("It rains."), Text("下雨。"), Text("Bot.")]
