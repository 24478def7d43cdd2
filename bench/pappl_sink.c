/*
 * A printer built on PAPPL, as small as one can be: it takes PDF and keeps each document that it has "printed".
 *
 *   pappl-sink PORT SPOOL KEPT
 *
 * One rule: the library does all the work, with its own defaults; the device behind it costs one link(2) a job, so
 * that a lost document can be told from a kept one and nothing else is measured than PAPPL. Its printer is
 * ipp://localhost:PORT/ipp/print.
 */

#include <errno.h>
#include <pappl/pappl.h>

static const char *kept; /* the folder of what was printed */

/*
 * The whole of printing: the job's spool file gets a second name, which stays when PAPPL removes the first. PAPPL 1.3.1
 * may start a job more than once when jobs come fast: that it is there already is well.
 */
static bool print_file(pappl_job_t *job, pappl_pr_options_t *options, pappl_device_t *device)
{
  char name[1024];

  (void)options;
  (void)device;
  snprintf(name, sizeof(name), "%s/%d.pdf", kept, papplJobGetID(job));
  return link(papplJobGetFilename(job), name) == 0 || errno == EEXIST;
}

/* Raster is what PAPPL converts images to. Nobody prints any here: such a job fails, and is counted as lost. */
static bool no_raster_job(pappl_job_t *job, pappl_pr_options_t *options, pappl_device_t *device)
{
  (void)job, (void)options, (void)device;
  return false;
}

static bool no_raster_page(pappl_job_t *job, pappl_pr_options_t *options, pappl_device_t *device, unsigned page)
{
  (void)job, (void)options, (void)device, (void)page;
  return false;
}

static bool no_raster_line(
    pappl_job_t *job, pappl_pr_options_t *options, pappl_device_t *device, unsigned y, const unsigned char *line)
{
  (void)job, (void)options, (void)device, (void)y, (void)line;
  return false;
}

static bool is_well(pappl_printer_t *printer)
{
  (void)printer;
  return true;
}

/* What the printer claims to be: A4, grey, one side, PDF. */
static bool describe(
    pappl_system_t *system, const char *driver, const char *device_uri, const char *device_id,
    pappl_pr_driver_data_t *data, ipp_t **attributes, void *unused)
{
  (void)system, (void)driver, (void)device_uri, (void)device_id, (void)attributes, (void)unused;
  data->printfile_cb = print_file;
  data->rstartjob_cb = no_raster_job;
  data->rendjob_cb = no_raster_job;
  data->rstartpage_cb = no_raster_page;
  data->rendpage_cb = no_raster_page;
  data->rwriteline_cb = no_raster_line;
  data->status_cb = is_well;
  data->format = "application/pdf";
  snprintf(data->make_and_model, sizeof(data->make_and_model), "PAPPL sink");
  data->ppm = 60;
  data->kind = PAPPL_KIND_DOCUMENT;
  data->orient_default = IPP_ORIENT_NONE;
  data->quality_default = IPP_QUALITY_NORMAL;
  data->color_supported = PAPPL_COLOR_MODE_AUTO | PAPPL_COLOR_MODE_MONOCHROME;
  data->color_default = PAPPL_COLOR_MODE_MONOCHROME;
  data->raster_types = PAPPL_PWG_RASTER_TYPE_SGRAY_8;
  data->sides_supported = PAPPL_SIDES_ONE_SIDED;
  data->sides_default = PAPPL_SIDES_ONE_SIDED;
  data->num_resolution = 1;
  data->x_resolution[0] = data->y_resolution[0] = data->x_default = data->y_default = 300;
  data->left_right = data->bottom_top = 423; /* hundredths of millimetres */
  data->num_media = 1;
  data->media[0] = "iso_a4_210x297mm";
  data->num_source = 1;
  data->source[0] = "main";
  data->num_type = 1;
  data->type[0] = "stationery";
  data->media_default = (pappl_media_col_t){
      .size_name = "iso_a4_210x297mm", .size_width = 21000, .size_length = 29700, .source = "main",
      .type = "stationery", .left_margin = 423, .right_margin = 423, .top_margin = 423, .bottom_margin = 423};
  data->media_ready[0] = data->media_default;
  return true;
}

int main(int argc, char *argv[])
{
  static pappl_pr_driver_t drivers[] = {{"sink", "PAPPL sink", NULL, NULL}};
  pappl_system_t *system;

  if (argc != 4)
  {
    fputs("usage: pappl-sink PORT SPOOL KEPT\n", stderr);
    return 2;
  }
  kept = argv[3];
  /* Several queues: a PAPPL system for one printer alone refuses a second job while it prints the first. */
  system = papplSystemCreate(PAPPL_SOPTIONS_MULTI_QUEUE | PAPPL_SOPTIONS_NO_TLS, "sink", atoi(argv[1]), NULL, argv[2],
                             "-", PAPPL_LOGLEVEL_WARN, NULL, false);
  papplSystemAddListeners(system, "localhost");
  papplSystemSetPrinterDrivers(system, 1, drivers, NULL, NULL, describe, NULL);
  if (!papplPrinterCreate(system, 0, "sink", "sink", "MFG:Bench;MDL:Sink;CMD:PDF;", "file:///dev/null"))
  {
    perror("pappl-sink: no printer");
    return 1;
  }
  papplSystemRun(system);
  papplSystemDelete(system);
  return 0;
}
