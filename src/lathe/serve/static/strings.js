// Everything that the page says, in both languages.

export const STRINGS = {
  en: {
    try: "Try", traffic: "Traffic", models: "Models", other: "中文", views: "Views",
    task: "Task", model: "Model", compare: "Compare with", nobody: "no other model", example: "Example", ask: "Ask",
    askHint: "Answers come as you pause; Ctrl+Enter asks at once.", loading: "Loading…", answering: "Answering…",
    text: "Text", text_pair: "Second text", question: "Question", context: "Context", query: "Query",
    choices: "Choices, one a line", candidates: "Candidates, one a line", history: "History, one item a line",
    spans: "Entities: start end label, one a line", prompt: "Beginning", message: "Message", send: "Send", stop: "Stop",
    clear: "Clear", you: "You", assistant: "Model", copyCurl: "Copy as curl", copied: "Copied", took: "answered in",
    empty: "Write something, or take the example.", nothing: "Nothing found.", noAnswer: "The context has no answer.",
    noAnswerShare: "no answer", nextBest: "Next best", differ: "The answers differ", same: "The answers agree", perplexity: "Perplexity of a unit",
    bits: "Bits per byte", logProb: "Log probability", units: "Units", vectorOf: "Vector of length", value: "Value",
    neighbours: "Nearest first, by cosine", mask: "Mask", trigger: "happens", entities: "Entities",
    unreachable: "The server does not answer. Is it still running?", busy: "The server is busy.", retry: "Ask again",
    late: "The answer took too long, or the server is ending.", after: "Ask again in {0} s.", refused: "Refused",
    keyNeeded: "This server asks for a key", key: "Key", keyHint: "It is kept in this tab alone and forgotten with it.", open: "Open",
    keyWrong: "The server does not know this key.", good: "Right", bad: "Wrong", correct: "Correct it", save: "Send correction", cancel: "Cancel",
    saved: "Thank you, stored.", note: "Note", label: "Label", labels: "Labels", number: "Right value", choice: "Right choice",
    addSpan: "Add the selected text", remove: "Remove", selectText: "Select text below with the mouse or Shift and the arrow keys, choose a label, then add it.",
    rightText: "Right text", order: "Right order", up: "Move up", selectAnswer: "Select the answer in the context; nothing selected means no answer.",
    right: "What is right, as JSON",
    feedbackOff: "This server keeps no feedback. Start it with feedback.store=FILE to correct answers here.",
    requests: "Requests", perSecond: "requests/s", inFlight: "under way", waiting: "waiting tokens", statuses: "Statuses",
    lastMinutes: "Last {0} s, requests that ask models", paused: "Paused while this tab is hidden", quiet: "Nothing has been asked yet.",
    front: "Quality, size and speed", family: "Family", sizeColumn: "Size", latency: "Latency (p50)", score: "Score", madeBy: "Made by", noScore: "no score",
    measure: "Measure speed", measuring: "Measuring…", measureHint: "Asks each model the example 20 times, one after the other.", labelsOf: "Labels", parents: "Made from", details: "Details",
    better: "higher is better", smaller: "smaller to the left", version: "Version", runtime: "Runtime", tokens: "Most new tokens", nothingElse: "Only models of one score are drawn together.",
    classify: "Classify", multilabel: "Several labels", choose: "Choose", tag: "Entities", intent: "Intent", relate: "Relations",
    event: "Events", answer: "Question", transform: "Rewrite", chat: "Chat", embed: "Likeness", rank: "Rank", recommend: "Recommend", fill: "Fill masks",
    likelihood: "Likelihood", generate: "Go on",
  },
  zh: {
    try: "试用", traffic: "流量", models: "模型", other: "English", views: "视图",
    task: "任务", model: "模型", compare: "对比", nobody: "不对比", example: "示例", ask: "提问",
    askHint: "停顿时自动作答；Ctrl+Enter 立即提问。", loading: "正在载入…", answering: "正在作答…",
    text: "文本", text_pair: "第二段文本", question: "问题", context: "上下文", query: "查询",
    choices: "选项，每行一个", candidates: "候选，每行一个", history: "历史，每行一项",
    spans: "实体：起点 终点 标签，每行一个", prompt: "开头", message: "消息", send: "发送", stop: "停止",
    clear: "清空", you: "你", assistant: "模型", copyCurl: "复制为 curl", copied: "已复制", took: "用时",
    empty: "写点什么，或使用示例。", nothing: "没有找到。", noAnswer: "上下文中没有答案。",
    noAnswerShare: "无答案", nextBest: "其次", differ: "答案不同", same: "答案一致", perplexity: "每单位困惑度",
    bits: "每字节比特", logProb: "对数概率", units: "单位数", vectorOf: "向量长度", value: "数值",
    neighbours: "按余弦由近到远", mask: "掩码", trigger: "事件", entities: "实体",
    unreachable: "服务器没有回应，它还在运行吗？", busy: "服务器正忙。", retry: "再问一次",
    late: "作答超时，或服务器正在关闭。", after: "请在 {0} 秒后再问。", refused: "被拒绝",
    keyNeeded: "此服务器需要密钥", key: "密钥", keyHint: "只保存在此标签页中，关闭即忘。", open: "打开",
    keyWrong: "服务器不认识这个密钥。", good: "正确", bad: "错误", correct: "更正", save: "提交更正", cancel: "取消",
    saved: "谢谢，已保存。", note: "备注", label: "标签", labels: "标签", number: "正确数值", choice: "正确选项",
    addSpan: "添加所选文本", remove: "移除", selectText: "用鼠标或 Shift 加方向键选中下面的文本，选择标签，然后添加。",
    rightText: "正确文本", order: "正确顺序", up: "上移", selectAnswer: "在上下文中选中答案；不选表示没有答案。",
    right: "正确内容（JSON）",
    feedbackOff: "此服务器不保存反馈。以 feedback.store=FILE 启动即可在此更正答案。",
    requests: "请求", perSecond: "请求/秒", inFlight: "进行中", waiting: "等待的词元", statuses: "状态",
    lastMinutes: "最近 {0} 秒，向模型的请求", paused: "标签页隐藏时暂停", quiet: "还没有人提问。",
    front: "质量、大小与速度", family: "家族", sizeColumn: "大小", latency: "延迟（p50）", score: "得分", madeBy: "来自", noScore: "无得分",
    measure: "测量速度", measuring: "正在测量…", measureHint: "用示例依次向每个模型提问 20 次。", labelsOf: "标签", parents: "由来", details: "详情",
    better: "越高越好", smaller: "越左越小", version: "版本", runtime: "运行时", tokens: "最多新词元", nothingElse: "只有同一得分的模型画在一起。",
    classify: "分类", multilabel: "多标签", choose: "选择", tag: "实体", intent: "意图", relate: "关系",
    event: "事件", answer: "问答", transform: "改写", chat: "对话", embed: "相似", rank: "排序", recommend: "推荐", fill: "填空",
    likelihood: "似然", generate: "续写",
  },
};

const KEPT = "lathe-language";
export let language = localStorage.getItem(KEPT) ?? (navigator.language.startsWith("zh") ? "zh" : "en");
if (!(language in STRINGS)) language = "en";

export function speak(one) {
  language = one;
  localStorage.setItem(KEPT, one);
}

export const t = (id, ...values) => STRINGS[language][id].replace(/\{(\d)\}/g, (_, n) => String(values[n]));
