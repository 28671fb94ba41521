import com.fasterxml.jackson.databind.ObjectMapper;
import com.github.jknack.handlebars.Context;
import com.github.jknack.handlebars.Handlebars;
import com.github.jknack.handlebars.context.MapValueResolver;
import com.github.jknack.handlebars.helper.ConditionalHelpers;
import com.github.jknack.handlebars.helper.StringHelpers;
import java.io.File;
import java.text.SimpleDateFormat;
import java.util.ArrayList;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TimeZone;
import java.util.stream.Collectors;

/**
 * Answers questions about handlebars.java, from a file to a file.
 *
 * <p>Tags alone on a line take the line with them (prettyPrint), as the Handlebars language says.
 *
 * <p>A question is {"template", "context"} or, for SimpleDateFormat, {"pattern", "date", "tz"}; its answer is
 * {"output"} or {"error"}. A context's {"$date": milliseconds} is a java.util.Date.
 */
public class Oracle {

  /** A list that prints as Pinpoint's attributes do: a single value plainly, several by commas. */
  private static class Printed extends ArrayList<Object> {
    @Override
    public String toString() {
      return stream().map(String::valueOf).collect(Collectors.joining(","));
    }
  }

  public static void main(String[] arguments) throws Exception {
    Locale.setDefault(Locale.US);
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
    ObjectMapper json = new ObjectMapper();
    List<Map<String, Object>> questions = json.readValue(new File(arguments[0]), List.class);
    List<Map<String, Object>> answers = new ArrayList<>();
    for (Map<String, Object> question : questions) {
      answers.add(answer(question));
    }
    json.writeValue(new File(arguments[1]), answers);
  }

  private static Map<String, Object> answer(Map<String, Object> question) {
    Map<String, Object> answer = new LinkedHashMap<>();
    try {
      answer.put("output", question.containsKey("pattern") ? date(question) : render(question));
    } catch (Throwable error) {
      answer.put("error", String.valueOf(error.getMessage()).split("\n")[0]);
    }
    return answer;
  }

  private static String date(Map<String, Object> question) {
    SimpleDateFormat format = new SimpleDateFormat((String) question.get("pattern"), Locale.US);
    format.setTimeZone(TimeZone.getTimeZone((String) question.get("tz")));
    return format.format(new Date(((Number) question.get("date")).longValue()));
  }

  private static String render(Map<String, Object> question) throws Exception {
    Handlebars handlebars = new Handlebars().prettyPrint(true);
    StringHelpers.register(handlebars);
    for (ConditionalHelpers helper : ConditionalHelpers.values()) {
      handlebars.registerHelper(helper.name(), helper);
    }
    Object model = dates(question.get("context"));
    Context context = Context.newBuilder(model).resolver(MapValueResolver.INSTANCE).build();
    return handlebars.compileInline((String) question.get("template")).apply(context);
  }

  private static Object dates(Object value) {
    if (value instanceof Map) {
      Map<String, Object> map = (Map<String, Object>) value;
      if (map.containsKey("$date")) {
        return new Date(((Number) map.get("$date")).longValue());
      }
      Map<String, Object> result = new LinkedHashMap<>();
      map.forEach((name, member) -> result.put(name, dates(member)));
      return result;
    }
    if (value instanceof List) {
      List<Object> result = new Printed();
      ((List<Object>) value).forEach(item -> result.add(dates(item)));
      return result;
    }
    return value;
  }
}
