// tus-java-client as its documentation shows it. Arguments: what to do (whole, part, resume), the URL, the file's path and
// its name. Prints the upload's URL.

import io.tus.java.client.ProtocolException;
import io.tus.java.client.TusClient;
import io.tus.java.client.TusExecutor;
import io.tus.java.client.TusUpload;
import io.tus.java.client.TusUploader;
import java.io.File;
import java.io.IOException;
import java.net.URL;
import java.util.Arrays;
import java.util.Map;

public class Tus {
    public static void main(String[] arguments) throws Exception {
        String what = arguments[0];
        URL url = new URL(arguments[1]);
        TusClient client = new TusClient();
        client.setUploadCreationURL(url);
        TusUpload upload = new TusUpload(new File(arguments[2]));
        upload.setMetadata(Map.of("filename", arguments[3]));
        URL[] at = {what.equals("resume") ? url : null};
        TusExecutor executor = new TusExecutor() {
            @Override
            protected void makeAttempt() throws ProtocolException, IOException {
                TusUploader uploader =
                    at[0] == null ? client.createUpload(upload) : client.beginOrResumeUploadFromURL(upload, at[0]);
                at[0] = uploader.getUploadURL();
                uploader.setChunkSize(64 * 1024);
                uploader.setRequestPayloadSize(what.equals("part") ? 256 * 1024 : 4 << 20);
                do {
                    if (what.equals("part") && uploader.getOffset() >= 512 * 1024) break;
                } while (uploader.uploadChunk() > -1);
                uploader.finish();
            }
        };
        int[] delays = new int[200];
        Arrays.fill(delays, 20);
        executor.setDelays(delays);
        executor.makeAttempts();
        System.out.println(at[0]);
    }
}
