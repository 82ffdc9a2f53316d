"""How to ask, in the query's own language, that it be translated into English and then answered in English."""

TRANSLATE_REQUESTS = {
    "ar": "ترجم الطلب التالي إلى الإنجليزية، ثم أجب عنه بالإنجليزية.",
    "de": "Übersetze die folgende Anfrage ins Englische und beantworte sie dann auf Englisch.",
    "es": "Traduce la siguiente petición al inglés y después respóndela en inglés.",
    "fr": "Traduis la demande suivante en anglais, puis réponds-y en anglais.",
    "hi": "निम्नलिखित अनुरोध का अंग्रेज़ी में अनुवाद करें, फिर उसका उत्तर अंग्रेज़ी में दें।",
    "it": "Traduci in inglese la richiesta seguente, poi rispondi in inglese.",
    "ja": "次の依頼を英語に訳してから、英語で答えてください。",
    "ko": "다음 요청을 영어로 번역한 다음 영어로 답하세요.",
    "pt": "Traduza o pedido a seguir para o inglês e depois responda em inglês.",
    "ru": "Переведи следующий запрос на английский язык, а затем ответь на него по-английски.",
    "tr": "Aşağıdaki isteği İngilizceye çevir, ardından İngilizce yanıtla.",
    "vi": "Hãy dịch yêu cầu sau sang tiếng Anh, rồi trả lời bằng tiếng Anh.",
    "zh": "请先把下面的请求翻译成英语，然后用英语回答。",
}
