// Java clients as people use them. Arguments: what to do, the URL, then the file's path and name, or the body's text.
// Prints the answer's status and body, each on a line.

import java.io.File;
import java.io.IOException;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import okhttp3.MediaType;
import okhttp3.MultipartBody;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;

public class Clients {
    public static void main(String[] arguments) throws Exception {
        System.setOut(new java.io.PrintStream(System.out, true, StandardCharsets.UTF_8));
        String what = arguments[0], url = arguments[1];
        switch (what) {
            case "okhttp-upload" -> okhttp(url, okhttpForm(new File(arguments[2]), arguments[3]));
            case "okhttp-json" -> okhttp(url, RequestBody.create(arguments[2], MediaType.get("application/json")));
            case "okhttp-text" -> okhttp(url, RequestBody.create(arguments[2], null));
            case "apache5-upload" -> apache5(url, new File(arguments[2]), arguments[3], null);
            case "apache5-extended" ->
                apache5(url, new File(arguments[2]), arguments[3], org.apache.hc.client5.http.entity.mime.HttpMultipartMode.EXTENDED);
            case "apache5-text" -> apache5Text(url, arguments[2]);
            case "apache4-upload" -> apache4(url, new File(arguments[2]), arguments[3], StandardCharsets.UTF_8);
            case "apache4-gbk" -> apache4(url, new File(arguments[2]), arguments[3], Charset.forName("GBK"));
            case "jdk-json" -> jdk(url, arguments[2]);
            default -> throw new IllegalArgumentException(what);
        }
    }

    static void say(int status, String body) {
        System.out.println(status);
        System.out.println(body);
    }

    static MultipartBody okhttpForm(File file, String name) {
        return new MultipartBody.Builder().setType(MultipartBody.FORM)
            .addFormDataPart("file", name, RequestBody.create(file, MediaType.get("video/mp4"))).build();
    }

    static void okhttp(String url, RequestBody body) throws IOException {
        OkHttpClient client = new OkHttpClient();
        try (var response = client.newCall(new Request.Builder().url(url).post(body).build()).execute()) {
            say(response.code(), response.body().string());
        }
        client.dispatcher().executorService().shutdown();
        client.connectionPool().evictAll();
    }

    static void apache5(String url, File file, String name, org.apache.hc.client5.http.entity.mime.HttpMultipartMode mode)
            throws IOException {
        var form = org.apache.hc.client5.http.entity.mime.MultipartEntityBuilder.create();
        if (mode != null) form.setMode(mode);
        form.setCharset(StandardCharsets.UTF_8);
        form.addBinaryBody("file", file, org.apache.hc.core5.http.ContentType.create("video/mp4"), name);
        form.addTextBody("filename", name, org.apache.hc.core5.http.ContentType.create("text/plain", StandardCharsets.UTF_8));
        apache5Post(url, form.build());
    }

    static void apache5Text(String url, String text) throws IOException {
        apache5Post(url, new org.apache.hc.core5.http.io.entity.StringEntity(text));
    }

    static void apache5Post(String url, org.apache.hc.core5.http.HttpEntity entity) throws IOException {
        try (var client = org.apache.hc.client5.http.impl.classic.HttpClients.createDefault()) {
            var post = new org.apache.hc.client5.http.classic.methods.HttpPost(url);
            post.setEntity(entity);
            client.execute(post, response -> {
                say(response.getCode(), org.apache.hc.core5.http.io.entity.EntityUtils.toString(response.getEntity()));
                return null;
            });
        }
    }

    static void apache4(String url, File file, String name, Charset charset) throws IOException {
        // The builder's default text type is ISO-8859-1; the field goes as what the JVM's user would write.
        var form = org.apache.http.entity.mime.MultipartEntityBuilder.create()
            .setMode(org.apache.http.entity.mime.HttpMultipartMode.BROWSER_COMPATIBLE).setCharset(charset)
            .addBinaryBody("file", file, org.apache.http.entity.ContentType.DEFAULT_BINARY, name)
            .addTextBody("filename", name, org.apache.http.entity.ContentType.create("text/plain", charset));
        try (var client = org.apache.http.impl.client.HttpClients.createDefault()) {
            var post = new org.apache.http.client.methods.HttpPost(url);
            post.setEntity(form.build());
            try (var response = client.execute(post)) {
                say(response.getStatusLine().getStatusCode(), org.apache.http.util.EntityUtils.toString(response.getEntity()));
            }
        }
    }

    static void jdk(String url, String text) throws Exception {
        var client = java.net.http.HttpClient.newHttpClient();
        var request = java.net.http.HttpRequest.newBuilder(java.net.URI.create(url))
            .POST(java.net.http.HttpRequest.BodyPublishers.ofString(text)).build();
        var response = client.send(request, java.net.http.HttpResponse.BodyHandlers.ofString());
        say(response.statusCode(), response.body());
    }
}
