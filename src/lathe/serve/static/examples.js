// An input for each task and language; what a model of another subject makes of it is its own affair.

const places = [{ start: 0, end: 11, label: "PER" }, { start: 20, end: 26, label: "LOC" }];
const placesZh = [{ start: 0, end: 3, label: "PER" }, { start: 5, end: 7, label: "LOC" }];

export const EXAMPLES = {
  en: {
    text: "A quiet, clever film that stays with you for days.",
    tag: "🎬 Ada Lovelace met Charles Babbage in London in 1833.",
    intent: "Wake me up at seven tomorrow in Paris",
    event: "On Monday a train collided with a truck near Lyon, injuring six people.",
    pair: { text: "A man is playing a guitar on stage.", text_pair: "Someone makes music." },
    choose: { text: "The ground is wet this morning.", question: "Why?", choices: ["It rained at night.", "The sun shone.", "It is Sunday."] },
    relate: { text: "Marie Curie lived in Warsaw until 1891.", spans: [places[0], { start: 21, end: 27, label: "LOC" }] },
    answer: { context: "The lighthouse of Kjeungskjær was built in 1880. It stands alone on a small rock in the sea.", question: "When was the lighthouse built?" },
    transform: "The committee met for three hours on Tuesday and decided, after long debate, to keep the old bridge.",
    chat: "What should I cook tonight?",
    embed: { query: "How do I get my money back?", candidates: ["Refunds take five working days.", "Our office opens at nine.", "You can return any article within a month.", "The train leaves from platform two."] },
    recommend: { history: ["good", "film"] },
    fill: "Paris is the [MASK] of France.",
    generate: "Once upon a time",
  },
  zh: {
    text: "这部电影安静而聪明，看完几天还忘不了。",
    tag: "🎬 李明和王芳上周在北京见了面。",
    intent: "明天早上七点叫我起床",
    event: "周一，一列火车在里昂附近与卡车相撞，六人受伤。",
    pair: { text: "一个男人在台上弹吉他。", text_pair: "有人在演奏音乐。" },
    choose: { text: "今天早上地面是湿的。", question: "为什么？", choices: ["夜里下了雨。", "太阳很大。", "今天是星期天。"] },
    relate: { text: "鲁迅先生在北京住过多年。", spans: [placesZh[0], placesZh[1]] },
    answer: { context: "这座灯塔建于一八八〇年，独自立在海中的一块小岩石上。", question: "灯塔是哪一年建的？" },
    transform: "委员会周二开了三个小时的会，经过长时间讨论，决定保留旧桥。",
    chat: "今天晚上做什么菜好？",
    embed: { query: "怎么退款？", candidates: ["退款需要五个工作日。", "我们九点开门。", "一个月内可以退货。", "火车从二号站台出发。"] },
    recommend: { history: ["好", "影", "片"] },
    fill: "北京是中国的[MASK]。",
    generate: "从前有一个",
  },
};

export function exampleOf(kind, form, mask, language) {
  const known = EXAMPLES[language];
  if (form.includes("text_pair")) return known.pair;
  if (kind === "rank") return known.embed;
  if (kind === "fill") return { text: known.fill.replace("[MASK]", () => mask ?? "[MASK]") };
  if (kind === "likelihood") return { text: known.text };
  const found = known[kind] ?? known.text;
  return typeof found === "string" ? { text: found } : found;
}
